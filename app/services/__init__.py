"""What the pages share: the chosen runs, and all that is kept between two clicks.

runs.py     the folder of runs, and which of them are chosen
models.py   checkpoints in memory, and what their runs left: predictions, features, thresholds
films.py    visitors' films, decoded in processes of their own, and the films that runs were trained on
answers.py  what checkpoints say of a film
audits.py   audits on disk, and where new ones are made
batches.py  where batch jobs wait and run, and who may see them
visit.py    what a visitor chose on one page and meets again on the others

The only st.cache_* of the app are here. They are shared by all visitors and keyed by content: a run by its folder and the
stamp of its checkpoint, a film by the hash of its bytes. No name, path or tag of a visitor's film is in a key.

torch and scikit-learn are imported in the function that first needs them, so that the first page is there without them; never
in a thread beside the pages, for two threads that import scipy at once can meet half of it.
"""
