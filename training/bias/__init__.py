"""The audit of source bias, over arrays and tables; of its files only the perturbations need torch.

numbers/       metrics, intervals, comparisons
evidence.py    what one checkpoint brings to the audit
questions/     what is asked of it
report/        the answers: values, verdict, page, gate
simulation.py  do intervals and p-values keep what they promise? (a command)
"""
