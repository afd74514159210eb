"""Every number that a verdict turns on, with where it is from.

The margin, and what counts as trained, were fixed by their meaning before the first full run, and no number was widened
after a look (docs/design.md, "What is measured"). Rules were changed since (CHANGELOG.md).
Fractions in 0..1 unless said. The levels of all tests are `results.stats.LOOKS` (0.05 in all), the rule for "converged"
stands with its thresholds in `results.convergence`, and the margin that it shares with the claims.
"""

from results.convergence import MARGIN as MARGIN

# A net "trains" at 15 % training error and does not at 50 %: chance is 90 % with ten classes; 16 % is the best
# published error of a plain net of 110 layers (Li et al. 2018).
TRAINED = 0.15
NOT_TRAINED = 0.50

# "About 1000 layers": 1001, 1002 and 1202 are the published ones.
THOUSAND = (900, 1300)

# A claim about depth that was never tried at this many layers is inconclusive: the first of the ladder
# well past ImageNet's 152.
DEEP = 258
# How the reason of such a finding begins.
NEVER = "never"

# What differences are counted from: the document's 18 layers, or 20 where a layout has no 18.
REFERENCE = 20

# Cost is flat when doubling the depth costs less than 7 %: log-log slope under 0.1.
FLAT = 0.1

# Outputs of a grown net may differ by rounding: float32 has 1.2e-7, times some hundreds of operations.
SAME_FUNCTION = 1e-4

# A deep net is "small" when its effective depth (`bench.probes.lesions`) is under half of its depth. Assumed: Veit et
# al. 2016 find paths of 10 to 34 layers to matter in a net of 110.
SMALL = 0.5

# A net that does badly at N steps still does at 4N: the gap keeps so much of its size. Less, and it is closing.
LASTS = 0.8

# Random labels are fitted at 90 %; the running training error of an epoch.
FITTED = 0.10
