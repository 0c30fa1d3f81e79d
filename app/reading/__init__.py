"""A visitor's film: decoded, scored, explained.

upload.py      bytes to film, in a process of its own
held_films.py  the last decoded films, shared by all visitors
film.py        scores, saliency, parts missing, nearest training films
appearance.py  whether a picture looks like an upright frontal chest film
"""
