"""Batch evaluation of a folder of DICOM files: every file one row, in shards that survive a kill, locally or on a cluster."""
