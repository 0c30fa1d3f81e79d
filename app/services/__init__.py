"""What the pages share: the chosen runs, and all that is kept between two clicks.

runs.py        the folder of runs, and which of them are chosen
models.py      checkpoints in memory, and what their runs left: predictions, features, thresholds
films.py       visitors' films, decoded in processes of their own, and the films that runs were trained on
answers.py     what checkpoints say of a film
first_film.py  imports and processes that the first film needs, made ready in the background
audits.py      audits on disk, and where new ones are made
batches.py     where batch jobs wait and run, and who may see them
visit.py       what a visitor chose on one page and meets again on the others

The only st.cache_* of the app are here. They are shared by all visitors and keyed by content: a run by its folder and the
stamp of its checkpoint, a film by the hash of its bytes. No name, path or tag of a visitor's film is in a key.

torch and scikit-learn are imported in the background once the first page is there (first_film.py), and so in the function
that needs them.
"""
