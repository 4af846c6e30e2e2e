"""The spatial adapter: box tokens, injected into the attention of a frozen SDXL-style UNet."""
