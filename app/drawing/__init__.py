"""Arguments in, chart or page elements out.

checkpoint_charts.py  training curves, feature maps
threshold_charts.py   ROC curves with operating points, net benefit
parts_chart.py        scores of a film without one part at a time
film_viewer.py        a film beside its maps, which zoom and move as one (with film_viewer.html, .css and .js)
pair_charts.py        scores of two checkpoints against each other
map_sides.py          the two feature maps as one table
audit_answer.py       the first screen of the bias page
audit_parts.py        the sections below it
audit_charts.py       charts of the bias page that the report does not have
tables.py             columns of tables
markdown.py           names as part of Markdown
pictures.py           images as part of the page
"""
