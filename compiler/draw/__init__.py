"""A compiled model as a picture: read from the IR, laid out in layers, written as SVG or as one HTML page."""
