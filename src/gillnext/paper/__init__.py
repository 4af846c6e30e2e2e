"""The paper: figures by matplotlib, the PDF by Typst; every number in it comes from a file."""
