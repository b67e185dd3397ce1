"""Counters of the service, in Prometheus' text format; no text of any query among them."""

import collections
import threading

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds


class Measures:
    """What the service has done since its start."""

    def __init__(self):
        self._lock = threading.Lock()
        self._requests: collections.Counter = collections.Counter()
        self._times = {}
        self._texts = self._batches = 0

    def request(self, route: str, status: int, seconds: float) -> None:
        """One answered request."""
        with self._lock:
            self._requests[route, status] += 1
            counts, total = self._times.get(route, ([0] * (len(BUCKETS) + 1), 0.0))
            for n, edge in enumerate((*BUCKETS, float("inf"))):
                counts[n] += seconds <= edge
            self._times[route] = counts, total + seconds

    def batch(self, texts: int) -> None:
        """One batch that was computed."""
        with self._lock:
            self._texts += texts
            self._batches += 1

    def render(self, queued: int) -> str:
        """The page that Prometheus reads."""
        with self._lock:
            lines = ["# TYPE geocoder_requests_total counter"]
            for (route, status), count in sorted(self._requests.items()):
                labels = f'route="{route}",status="{status}"'
                lines.append(f"geocoder_requests_total{{{labels}}} {count}")
            lines.append("# TYPE geocoder_request_seconds histogram")
            for route, (counts, total) in sorted(self._times.items()):
                for edge, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
                    labels = f'route="{route}",le="{edge}"'
                    lines.append(f"geocoder_request_seconds_bucket{{{labels}}} {count}")
                lines.append(f'geocoder_request_seconds_sum{{route="{route}"}} {total:.6f}')
                lines.append(f'geocoder_request_seconds_count{{route="{route}"}} {counts[-1]}')
            lines += ["# TYPE geocoder_texts_total counter", f"geocoder_texts_total {self._texts}"]
            lines += ["# TYPE geocoder_batches_total counter"]
            lines += [f"geocoder_batches_total {self._batches}"]
            lines += ["# TYPE geocoder_queued_texts gauge", f"geocoder_queued_texts {queued}"]
        return "\n".join(lines) + "\n"
