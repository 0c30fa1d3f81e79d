"""The answers of an audit: values, verdict, page, gate.

answers.py      the verdict as a value: questions, answers, differences
values.py       the results: frames, numbers, sentences
plain.py        values as JSON knows them
audit.py        evidence to values
soundness.py    what evidence must hold
verdict.py      the numbers of a run to answers
headline.py     the answers in a sentence, of one run and of several
first_screen.py the verdict as a table of words
differences.py  two runs, question by question
by_attribute.py the questions on the source, asked of other attributes
attribute_screen.py their answers as a table of words
figures.py      charts, for the page and for the app
page.py         report.html
gate.py         --fail-on
interchange.py  predictions in the layouts of other audit tools
"""
