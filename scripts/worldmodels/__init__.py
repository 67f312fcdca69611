"""World Models (Ha & Schmidhuber, 2018): what the workflow's programs share, one module a stage."""
