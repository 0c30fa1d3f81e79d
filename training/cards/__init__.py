"""A run described for people: MODEL_CARD.md.

model_card.py  the card
facts.py       what checkpoint and report say, as phrases
claim.py       the CLAIM checklist
"""
