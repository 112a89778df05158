"""How many units a sorter finds: drifting recordings with known truth, corrected in several ways, sorted and compared.

`cases` makes recordings, `treatments` corrects them, `scores` compares, `study` runs and keeps, `tables` tells.
"""
