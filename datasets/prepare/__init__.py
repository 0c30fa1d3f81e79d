"""Public data sets and folders of DICOM films to a cohort with metadata.csv: `python -m datasets.prepare`.

layouts/     one file a data set, and their register
request.py   what the command is asked to do
sources.py   institution, model or group of detectors as the source of a DICOM film
cohort.py    metadata.csv and its companions, and the folder that they lie in
fetch.py     the films of an archive, into a folder
placing.py   films linked or copied to where metadata.csv names them
report.py    what is printed at the end
__main__.py  the command
"""
