"""The audit of source bias, over arrays and tables; of its files only the perturbations need torch.

numbers/       metrics, intervals, comparisons
evidence.py    what one checkpoint brings to the audit
questions/     the questions that the audit asks of it
report/        the answers: values, verdict, page, gate
simulation/    are intervals and p-values calibrated? (a command)
"""
