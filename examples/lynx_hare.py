"""Fit the Lotka-Volterra equations to the lynx and hare pelts of the Hudson's Bay Company.

Run: python examples/lynx_hare.py

The code is in `pysciml/demo.py`; `pysciml demo` runs it too.
"""

from pysciml import demo

demo.run()
