"""Are intervals and p-values calibrated? Cohorts with known truth, drawn many times: `python -m training.bias.simulation`.

cohorts.py   films of clustered patients with a known AUROC
coverage.py  intervals of AUROC, and equally good models called different
leak.py      the probe of the source
small.py     shares and AUROC with few patients
seeds.py     two methods over several trainings
verdict.py   the audit's questions
speed.py     time and memory of all metrics by source
shares.py    a table of shares
__main__.py  the command
"""
