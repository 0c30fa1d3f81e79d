"""Every method on Biased MNIST: one protocol, a record of every run, the table.

protocol.py    what is run
trials.py      the hyper-parameters that are tried
execution.py   runs, one after another or several at once
records.py     what tells one run from another in the record
table.py       the literature's table
command.py     options and the whole
"""
