"""From files to samples: radiographs, cohorts, splits, samplers, and the check for confounding."""
