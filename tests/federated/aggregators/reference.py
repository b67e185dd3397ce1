"""Slow NumPy twins of the aggregators: one update a row, written as the papers have it."""

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.cluster import (
    HDBSCAN,
    AgglomerativeClustering,
    KMeans,
    MeanShift,
    estimate_bandwidth,
)
from sklearn.metrics import calinski_harabasz_score
from sklearn.metrics.pairwise import rbf_kernel


def trimmed_mean(x, trim):
    ordered = np.sort(x, axis=0)
    return ordered[trim : len(x) - trim].mean(0)


def krum_scores(x, f):
    m = len(x)
    out = np.zeros(m)
    for i in range(m):
        away = sorted(np.sum((x[i] - x[j]) ** 2) for j in range(m) if j != i)
        out[i] = sum(away[: max(m - f - 2, 1)])
    return out


def mixed(x, f):
    away = np.linalg.norm(x[:, None] - x[None], axis=-1)
    return np.stack([x[np.argsort(row, kind="stable")[: len(x) - f]].mean(0) for row in away])


def krum(x, f):
    return x[np.argmin(krum_scores(x, f))]


def multi_krum(x, f, keep=None):
    keep = keep or len(x) - f
    return x[np.argsort(krum_scores(x, f), kind="stable")[:keep]].mean(0)


def bulyan(x, f):
    left, chosen = list(range(len(x))), []
    while len(chosen) < len(x) - 2 * f:
        scores, all_others = krum_scores(x[left], f), krum_scores(x[left], -2)
        tied = scores <= scores.min() * (1 + 1e-5)
        best = left[int(np.argmin(np.where(tied, all_others, np.inf)))]
        chosen.append(best)
        left.remove(best)
    picked, kept = x[chosen], len(x) - 4 * f
    out = np.zeros(x.shape[1])
    for c in range(x.shape[1]):
        values = picked[:, c]
        near = np.argsort(np.abs(values - np.median(values)), kind="stable")[:kept]
        out[c] = values[near].mean()
    return out


def geometric_median(x, p, iterations, start, nu=1e-6):
    v = np.average(x, axis=0, weights=p) if start == "mean" else np.median(x, axis=0)
    for _ in range(iterations):
        w = p / np.maximum(nu, np.linalg.norm(x - v, axis=1))
        v = (w[:, None] * x).sum(0) / w.sum()
    return v


def centred_clip(x, radius, iterations, v=0.0):
    for _ in range(iterations):
        away = x - v
        factor = np.minimum(1, radius / np.linalg.norm(away, axis=1))
        v = v + (away * factor[:, None]).mean(0)
    return v


def fltrust(x, root):
    trust = np.maximum(x @ root / np.linalg.norm(x, axis=1) / np.linalg.norm(root), 0)
    scaled = x * (np.linalg.norm(root) / np.linalg.norm(x, axis=1))[:, None]
    return (trust[:, None] * scaled).sum(0) / trust.sum()


def foolsgold_weights(c):
    """From the cosines, step by step as in the authors' code: the diagonal is 0 from the start."""
    m = len(c)
    c = np.where(np.eye(m, dtype=bool), 0.0, c)
    v = c.max(1)
    for i in range(m):
        for j in range(m):
            if i != j and v[i] < v[j]:
                c[i, j] = c[i, j] * v[i] / v[j]
    a = np.clip(1 - c.max(1), 0, 1)
    a = np.clip(a / a.max(), 1e-6, 0.99)
    return np.clip(np.log(a / (1 - a)) + 0.5, 0, 1)


def foolsgold(x, histories=None):
    h = x if histories is None else histories
    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    return (foolsgold_weights(unit @ unit.T)[:, None] * x).sum(0) / len(x)


def flame_members(x):
    """Components of the graph of all pairs nearer than a threshold, which grows."""
    m = len(x)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    apart = 1 - unit @ unit.T
    for threshold in np.sort(apart[~np.eye(m, dtype=bool)]):
        linked = apart <= threshold
        for i in range(m):
            found, todo = {i}, [i]
            while todo:
                for j in np.flatnonzero(linked[todo.pop()]):
                    if j not in found:
                        found.add(j)
                        todo.append(j)
            if len(found) >= m // 2 + 1:
                return sorted(found)
    raise AssertionError


def clipped_to(x, bound):
    return x * np.minimum(1, bound / np.linalg.norm(x, axis=1))[:, None]


def usually_long(x):
    return clipped_to(x, np.median(np.linalg.norm(x, axis=1)))


def flame(x):
    return usually_long(x)[flame_members(x)].mean(0)


def robust_rate(x, threshold):
    votes = np.abs(np.sign(x).sum(0))
    return np.where(votes >= threshold, 1, -1) * x.mean(0)


def dnc(x, f, drawn, filtered=1.0):
    """Algorithm 2: `drawn` holds the coordinates of each iteration."""
    good = set(range(len(x)))
    for columns in drawn:
        away = x[:, columns] - x[:, columns].mean(0)
        v = np.linalg.svd(away, full_matrices=False)[2][0]
        outlying = (away @ v) ** 2
        good &= set(np.argsort(outlying)[: int(len(x) - filtered * f)])
    return x[sorted(good)].mean(0)


def largest_cluster(points, quantile):
    """Mean shift as the authors of SignGuard call it, but for seeds on a lattice."""
    width = max(estimate_bandwidth(points, quantile=quantile), 1e-6)
    labels = MeanShift(bandwidth=width, cluster_all=False).fit(points).labels_
    return labels == np.argmax(np.bincount(labels[labels >= 0]))


def likeness(x, kind, last=None):
    """SignGuard's fourth feature."""
    norms = np.linalg.norm(x, axis=1)
    if kind == "cosine":
        if last is None:
            cosines = np.median(x @ x.T / np.outer(norms, norms), axis=1)
        else:
            cosines = x @ last / norms / np.linalg.norm(last)
        return np.clip(cosines, 0, np.median(cosines)) / np.median(cosines) / 5
    if last is None:
        apart = np.linalg.norm(x[:, None] - x[None], axis=-1)
        away = np.sort(apart, axis=1)[:, : len(x) // 2].sum(1)
    else:
        away = np.linalg.norm(x - last, axis=1)
    return (away >= 1.1 * np.median(away)) / 5


def signguard_members(x, columns, fourth=None):
    part = np.sign(x[:, columns])
    features = [(part == sign).mean(1) for sign in (1, 0, -1)]
    features += [] if fourth is None else [fourth]
    norms = np.linalg.norm(x, axis=1)
    usual = (norms >= 0.1 * np.median(norms)) & (norms <= 3.0 * np.median(norms))
    return np.flatnonzero(usual & largest_cluster(np.stack(features, axis=1), 0.5))


def signguard(x, columns, fourth=None):
    return usually_long(x)[signguard_members(x, columns, fourth)].mean(0)


def bfgs(moves, turns):
    """The BFGS matrix of pairs of positive curvature, oldest first, from sigma I."""
    pairs = [
        (s, y)
        for s, y in zip(moves, turns, strict=True)
        if s @ y > 1e-6 * np.linalg.norm(s) * np.linalg.norm(y)
    ]
    size = moves.shape[1]
    if not pairs:
        return np.zeros((size, size))
    s, y = pairs[-1]
    b = (s @ y) / (s @ s) * np.eye(size)
    for s, y in pairs:
        b = b - np.outer(b @ s, s @ b) / (s @ b @ s) + np.outer(y, y) / (y @ s)
    return b


def two_means(values):
    """(who is in the group of the larger mean, sum of squares) of the best of all partitions."""
    best, found = None, np.inf
    for code in range(1, 2 ** len(values) - 1):
        group = (code >> np.arange(len(values))) & 1 > 0
        within = sum(((part - part.mean()) ** 2).sum() for part in (values[group], values[~group]))
        if within < found and values[group].mean() > values[~group].mean():
            best, found = group, within
    return best, found


def _two_means_of_sorted(values):
    ordered = np.sort(values)
    parts = [(ordered[:i], ordered[i:]) for i in range(1, len(ordered))]
    within = [sum(((p - p.mean()) ** 2).sum() for p in pair) for pair in parts]
    return min(within), ordered[np.argmin(within)]


def more_than_one(values, uniform):
    """Whether the gap statistic, with these uniform numbers, refuses one group."""
    inside = (values - values.min()) / (values.max() - values.min())
    squares = lambda x: np.array([((x - x.mean()) ** 2).sum(), _two_means_of_sorted(x)[0]])
    logs = np.log([squares(u.astype(float)[: len(values)]) for u in uniform])
    gaps = logs.mean(0) - np.log(squares(inside))
    return gaps[0] < gaps[1] - logs[:, 1].std() * np.sqrt(1 + 1 / len(uniform))


def fldetector(records, aggregates, participants, window):
    """(aggregates, final suspicion) of rounds of (model, updates, ids, arrived).

    The history is what the rounds were given; dense BFGS matrices; who is left out is found by
    which of the two aggregates (all, or the lower group of 2-means) the round returned, as the
    draws of the gap statistic are the rule's own.
    """
    last, scores, out = {}, {i: [] for i in range(participants)}, []
    models = [model for model, *_ in records]
    gradients = [-aggregate for aggregate in aggregates]
    for t, (model, updates, ids, arrived) in enumerate(records):
        if t > window:
            moves = np.array([models[j] - models[j - 1] for j in range(t - window, t)])
            turns = np.array([gradients[j] - gradients[j - 1] for j in range(t - window, t)])
            b, away = bfgs(moves, turns), {}
            for update, i, there in zip(updates, ids, arrived, strict=True):
                if there and i in last and t - last[i][0] <= window + 1:
                    predicted = -last[i][1] + b @ (model - models[last[i][0]])
                    away[i] = np.linalg.norm(predicted + update)
            for i, distance in away.items():
                scores[i] = [*scores[i], distance / np.mean(list(away.values()))][-window:]
        for update, i, there in zip(updates, ids, arrived, strict=True):
            if there:
                last[i] = (t, update)
        known = [i for i in scores if scores[i]]
        choices = [updates[arrived].mean(0)]
        if len(known) > 1:
            means = np.array([np.mean(scores[i]) for i in known])
            bound = _two_means_of_sorted(means)[1]
            upper = {i for i, mean in zip(known, means, strict=True) if mean > bound}
            kept = arrived & np.array([i not in upper for i in ids])
            choices.append(updates[kept].mean(0))
        nearest = np.argmin([np.linalg.norm(c - aggregates[t]) for c in choices])
        out.append(choices[nearest])
    final = np.array([np.mean(scores[i]) if scores[i] else 0.0 for i in range(participants)])
    return np.array(out), final


def k_means(x, k):
    """(labels, sum of squares): Lloyd's algorithm from the farthest points."""
    far = [int(np.argmax(((x - x.mean(0)) ** 2).sum(1)))]
    while len(far) < k:
        nearest = np.min([((x - x[i]) ** 2).sum(1) for i in far], axis=0)
        far.append(int(np.argmax(nearest)))
    centres, labels = x[far], None
    for _ in range(100):
        new = ((x[:, None] - centres[None]) ** 2).sum(-1).argmin(1)
        if labels is not None and (new == labels).all():
            break
        labels = new
        centres = np.array(
            [x[labels == j].mean(0) if (labels == j).any() else centres[j] for j in range(k)]
        )
    return labels, ((x - centres[labels]) ** 2).sum()


def number_of_groups(x, uniform, most):
    """Of the gap statistic with these uniform points."""
    inside = (x - x.min(0)) / (x.max(0) - x.min(0))
    gaps, spreads = [], []
    for k in range(1, most + 2):
        logs = np.log([max(k_means(u, k)[1], 1e-9) for u in uniform])
        gaps.append(logs.mean() - np.log(max(k_means(inside, k)[1], 1e-9)))
        spreads.append(logs.std() * np.sqrt(1 + 1 / len(uniform)))
    for k in range(most):
        if gaps[k] >= gaps[k + 1] - spreads[k + 1]:
            return k + 1
    return most


def rflbat_members(x, uniform, there=None, most=9):
    """`uniform` has a point for every update, whether it takes part or not."""
    members = np.arange(len(x)) if there is None else np.flatnonzero(there)
    away = x[members] - x[members].mean(0)
    plane = np.zeros((len(x), 2))
    plane[members] = away @ np.linalg.svd(away, full_matrices=False)[2][:2].T
    plane *= np.sign(plane[np.abs(plane).argmax(0), [0, 1]])

    def near(members, factor):
        part = plane[members]
        total = np.linalg.norm(part[:, None] - part[None], axis=-1).sum(1)
        return members[total <= factor * np.median(total)]

    members = near(members, 10.0)
    k = number_of_groups(plane[members], uniform[:, members], most)
    labels, likeness = k_means(plane[members], k)[0], []
    for j in range(k):
        unit = x[members[labels == j]]
        unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        likeness.append(1.0 if len(unit) < 2 else np.median((unit @ unit.T).mean(1)))
    return near(members[labels == np.argmin(likeness)], 4.0)


def rflbat(x, uniform, there=None):
    return x[rflbat_members(x, uniform, there)].mean(0)


def together(apart):
    """Whether two share a cluster of HDBSCAN; one in none is alone."""
    # Equal heights below the floor: scikit-learn would divide by 0.
    apart = np.where(np.eye(len(apart), dtype=bool), 0, np.maximum(apart, 1e-6 * apart.max()))
    judge = HDBSCAN(min_cluster_size=2, min_samples=1, metric="precomputed", copy=True)
    labels = judge.fit(apart).labels_
    alone = np.eye(len(labels), dtype=bool)
    return ((labels[:, None] == labels[None]) & (labels >= 0)[:, None]) | alone


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def deepsight_members(kernels, biases, model, batches):
    """Of a linear classifier: `model` is its (kernel, bias), the others are updates of it."""
    m, classes = biases.shape
    size = np.abs(biases) + np.abs(kernels).sum(1)
    energy = size**2 / (size**2).sum(1, keepdims=True)
    counts = (energy > max(0.01, 1 / classes) * energy.max(1, keepdims=True)).sum(1)
    suspicious = counts <= np.median(counts) / 2
    apart = lambda rows: np.linalg.norm(rows[:, None] - rows[None], axis=-1)
    unit = biases / np.linalg.norm(biases, axis=1, keepdims=True)
    by_output = []
    for x in batches:
        usual = softmax(x @ model[0] + model[1])
        local = [softmax(x @ (model[0] + kernels[i]) + model[1] + biases[i]) for i in range(m)]
        by_output.append(1.0 - together(apart(np.array([(p / usual).mean(0) for p in local]))))
    by_bias = 1.0 - together(np.clip(1 - unit @ unit.T, 0, 2))
    merged = (by_bias + (1.0 - together(apart(energy))) + np.mean(by_output, axis=0)) / 3
    share = [suspicious[group].mean() for group in together(merged)]
    return np.flatnonzero(np.array(share) < 1 / 3)


def deepsight(x, kernels, biases, model, batches):
    clipped = usually_long(x)
    members = deepsight_members(kernels, biases, model, batches)
    return clipped[members].mean(0) if len(members) else 0 * x[0]


def larger_of_two(apart):
    """The members of the larger cluster of average linkage; of equal halves the closer one."""
    judge = AgglomerativeClustering(n_clusters=2, metric="precomputed", linkage="average")
    labels = judge.fit(apart).labels_
    groups = [np.flatnonzero(labels == label) for label in (0, 1)]
    return min(groups, key=lambda g: (-len(g), apart[np.ix_(g, g)].sum()))


def clipped_clustering(x, earlier=()):
    norms = np.linalg.norm(x, axis=1)
    unit = x / norms[:, None]
    members = larger_of_two(1 - unit @ unit.T)
    return clipped_to(x, np.median([*earlier, *norms]))[members].mean(0)


def multi_metrics_scores(x, model):
    """The square of the paper's score."""
    local = model + x
    cosine = local @ model / np.linalg.norm(local, axis=1) / np.linalg.norm(model)
    rows = np.stack([np.abs(x).sum(1), np.linalg.norm(x, axis=1), cosine], axis=1)
    away = np.abs(rows[:, None] - rows[None]).sum(1)
    inverse = np.linalg.inv(np.cov(away.T))
    return np.array([row @ inverse @ row for row in away])


def multi_metrics(x, model, share=0.3):
    scores = multi_metrics_scores(x.astype(float), model.astype(float))
    return x[np.argsort(scores)[: max(int(share * len(x)), 1)]].mean(0)


def alignins_measures(x, model, share=0.3):
    """(cosines with the model, alignments of the largest coordinates' signs)."""
    most, aligned = np.sign(np.sign(x).sum(0)), []
    for row in x:
        top = np.argsort(-np.abs(row))[: int(share * len(row))]
        aligned.append(np.mean(np.sign(row[top]) == most[top]))
    cosines = x @ model / np.linalg.norm(x, axis=1) / np.linalg.norm(model)
    return cosines, np.array(aligned)


def alignins_members(x, model, share=0.3, bounds=(1.0, 1.0)):
    passed = np.ones(len(x), bool)
    for values, bound in zip(alignins_measures(x, model, share), bounds, strict=True):
        passed &= np.abs(values - np.median(values)) / values.std() < bound
    return np.flatnonzero(passed)


def alignins(x, model, share=0.3):
    kept = x[alignins_members(x, model, share)]
    return usually_long(kept).mean(0) if len(kept) else 0 * x[0]


def discrepancy(x, y, width):
    """The unbiased estimate of the squared maximum mean discrepancy of two samples."""
    kernel = lambda a, b: rbf_kernel(a, b, gamma=1 / (2 * width**2))
    between = lambda k: (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))
    return between(kernel(x, x)) + between(kernel(y, y)) - 2 * kernel(x, y).mean()


def flare_trust(found, usual):
    """From every model's representations and the global model's."""
    m, width = len(found), np.median(pdist(usual))
    counts = np.zeros(m)
    for i in range(m):
        others = [j for j in range(m) if j != i]
        apart = [discrepancy(found[i], found[j], width) for j in others]
        for place in np.argsort(apart)[: m // 2]:
            counts[others[place]] += 1
    return softmax(counts)


def flare(x, represent, model):
    """`represent` takes a flat model."""
    found = [represent(model + row).astype(float) for row in x]
    return flare_trust(found, represent(model).astype(float)) @ x


def snowball_votes(layers, suspects):
    """Of the bottom-up election; `layers` are (cohort, coordinates)."""
    m = len(layers[0])
    total = np.zeros(m)
    for x in layers:
        groups, scores = [], []
        for i in range(m):
            away = x - x[i]
            farthest = np.argsort(-np.linalg.norm(away, axis=1))[:suspects]
            starts = away[[i, *farthest]]
            judge = KMeans(suspects + 1, init=starts, n_init=1, tol=0).fit(away)
            groups.append(judge.labels_ == judge.labels_[i])
            scores.append(calinski_harabasz_score(away, judge.labels_))
        weight = (np.array(scores) - min(scores)) / (max(scores) - min(scores))
        total += weight @ np.array(groups)
    return total


def snowball(x, layers, suspects, first):
    """Of the bottom-up election alone."""
    elected = np.argsort(-snowball_votes(layers, suspects))[: int(np.ceil(first * len(x)))]
    return x[elected].mean(0)


def planted(kernel, bias, x, y, *, epochs, rate, momentum, pull, decay):
    """A softmax regression after full-batch SGD towards labels that a server planted."""
    start = np.concatenate([np.asarray(kernel, np.float64), np.asarray(bias, np.float64)[None]])
    w, speed = start.copy(), np.zeros_like(start)
    inputs = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    wanted = np.eye(w.shape[1])[y]
    for _ in range(epochs):
        slope = inputs.T @ (softmax(inputs @ w) - wanted) / len(x)
        speed = momentum * speed + slope + pull * (w - start) + decay * w
        w = w - rate * speed
    return w[:-1], w[-1]


def best_class(logits, labels, only=None):
    """The largest share of a class's examples that are labelled right, of `only` some classes."""
    right = np.argmax(logits, axis=1) == labels
    return max(right[labels == c].mean() for c in only or set(labels.tolist()))


def indicator(updates, kernels, biases, x, y, threshold):
    """The mean of the updates that forget what five steps plant in a linear classifier of zeros."""
    usual = {"epochs": 5, "rate": 0.1, "momentum": 0.9, "pull": 0.1, "decay": 0.0}
    kernel, bias = planted(np.zeros(kernels.shape[1:]), np.zeros(biases.shape[1:]), x, y, **usual)
    kept = [
        best_class(x @ (kernel + k) + bias + b, y) for k, b in zip(kernels, biases, strict=True)
    ]
    accepted = updates[np.array(kept) < threshold]
    return accepted.mean(0) if len(accepted) else np.zeros(updates.shape[1])
