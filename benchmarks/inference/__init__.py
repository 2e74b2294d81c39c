"""Parts of `benchmarks/inference.py`: shapes, what every system makes of them, and how each is measured."""
