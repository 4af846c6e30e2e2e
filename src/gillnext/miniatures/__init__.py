"""The demo's miniature foundation models: real diffusers and transformers classes and formats, trained here."""
