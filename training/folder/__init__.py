"""A folder of DICOM files, scored in shards that survive a kill, and results written as DICOM.

evaluation.py     from options to tables and a report
refusals.py       what is refused before any file is read
overview.py       what became of the files, for the terminal
engines.py        where shards are scored: on this machine or a Ray cluster
shard.py          some hundred files, read and scored
reading.py        one file to pixels and facts, in a decoding process
store.py          where finished shards are kept
merge.py          shards to results
aggregate.py      films to studies and patients
patient_files.py  files that identify patients, on request
dicom_objects.py  reports and images written, and sent to an archive
dicom_derived.py  patient, study and UIDs of every DICOM object made from a film
dicom_sr.py       scores as a structured report
dicom_sc.py       saliency as a secondary capture
"""
