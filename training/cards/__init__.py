"""MODEL_CARD.md: what a run's files say, for people.

model_card.py  writes the card
card.md.j2     its text
claim.md.j2    the CLAIM checklist at its end
facts.md.j2    phrases that both use
"""
