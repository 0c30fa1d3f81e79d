"""Synthetic films of several hospitals, with no patient in them: `python -m datasets.phantom`.

anatomy.py      a patient as a map of attenuation
signature.py    what a hospital makes of it: exposure, marker, border, grain
film.py         one patient at one hospital, and the table of a cohort
cohort.py       a cohort whose label follows the hospital with probability rho
dicom_write.py  a film as a DICOM file
folder.py       a folder of such files with labels.csv
odd.py          files that an evaluation must skip or fail
sheet.py        a picture of all hospitals and labels
__main__.py     the command
"""
