"""Fetching the kept rows' images: client, picture checks, a journal that survives a kill, index."""
