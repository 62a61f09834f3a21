"""Networks of several layers: the same data, the same network, another cost."""
