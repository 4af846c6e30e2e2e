"""The demo's miniature foundation models: real diffusers and transformers classes, trained here, saved in their formats."""
