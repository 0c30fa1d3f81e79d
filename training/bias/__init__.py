"""Measures of source bias as functions over arrays and tables; none of them needs torch."""
