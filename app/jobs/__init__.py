"""What runs in the background while visitors go on.

batch_desk.py     the queue: one batch at a time, each seen by its owner alone
batch_request.py  what a visitor wants scored
batch_job.py      scoring many films: progress, end
batch_results.py  its tables and downloads
batch_uploads.py  uploads as a folder in memory, under neutral names
film_folders.py   the folder of the server whose films visitors may score
audit_job.py      an audit in a process of its own
"""
