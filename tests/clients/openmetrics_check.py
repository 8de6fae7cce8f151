"""Reads an OpenMetrics body from standard input with the reference parser; prints families and samples.

The parser is strict: a missing `# EOF`, a unit that is no suffix of its name, a counter without `_total`
or a family in two places end it with an exception.
"""

import sys

from prometheus_client.openmetrics.parser import text_fd_to_metric_families

families = list(text_fd_to_metric_families(sys.stdin))
print(len(families), sum(len(family.samples) for family in families))
