"""ART's shadow models and hill climb on the arrays of a file; prints one line of JSON.

python art_shadow.py FILE: an npz with the records, the target's split and the settings.
"""

import json
import sys
import time
import warnings

import numpy as np
from art.attacks.inference.membership_inference import ShadowModels
from art.estimators.classification import SklearnClassifier
from sklearn.neural_network import MLPClassifier

warnings.filterwarnings("ignore")


def network(hidden, epochs, seed, activation="tanh", rate=1e-3):
    """The same network and optimizer as ours, without scikit-learn's early stopping."""
    return MLPClassifier(
        (hidden,), activation=activation, solver="adam", alpha=0.0, batch_size=100,
        learning_rate_init=rate, max_iter=epochs, tol=0.0, n_iter_no_change=10**6,
        random_state=seed,
    )  # fmt: skip


def main():
    with np.load(sys.argv[1]) as data:
        x, y = data["x"].astype(np.float32), data["y"].astype(int)
        train, test, pool = data["train"], data["test"], data["pool"]
        shadows, epochs, hidden = (int(data[k]) for k in ("shadows", "epochs", "hidden"))
        steps, climbs = int(data["attack_steps"]), int(data["climbs"])
    classes = y.max() + 1
    hot = np.eye(classes, dtype=np.float32)

    wall, cpu = time.perf_counter(), time.process_time()
    target = SklearnClassifier(network(hidden, epochs, 0))
    target.fit(x[train], hot[y[train]])
    template = SklearnClassifier(network(hidden, epochs, None))
    models = ShadowModels(template, num_shadow_models=shadows, random_state=0)
    inside, outside = models.generate_shadow_dataset(x[pool], hot[y[pool]])
    middle = time.process_time() - cpu
    answers = np.concatenate([inside[2], outside[2]])
    labels = np.concatenate([inside[1], outside[1]]).argmax(1)
    member = np.repeat([1, 0], [len(inside[2]), len(outside[2])])
    evaluated = np.concatenate([train, test])
    asked = target.predict(x[evaluated])
    scores = np.zeros(len(evaluated))
    for c in range(classes):
        own = labels == c
        passes = max(1, round(steps * 100 / own.sum()))
        attack = network(64, passes, 0, "relu", 3e-3).fit(answers[own], member[own])
        mine = y[evaluated] == c
        if mine.any():
            scores[mine] = attack.predict_proba(asked[mine])[:, 1]
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

    rng = np.random.default_rng(0)

    def record():
        return rng.integers(0, 2, x.shape[1]).astype(np.float32)

    def redraw(old, count):
        new = old.copy()
        places = rng.choice(len(old), count, replace=False)
        new[places] = rng.integers(0, 2, count)
        return new

    cpu, found, queries = time.process_time(), 0, [0]
    plain = target.predict

    def counted(inputs):
        queries[0] += len(inputs)
        return plain(inputs)

    target.predict = counted
    for i in range(climbs):
        try:
            models._hill_climbing_synthesis(
                target, i % classes, 0.4, 128, max_iterations=1000, max_rejections=3,
                min_features_randomized=4, random_record_fn=record, randomize_features_fn=redraw,
            )  # fmt: skip
            found += 1
        except RuntimeError:
            pass
    climb = {"cpu": time.process_time() - cpu, "found": found, "queries": queries[0]}
    right = target.predict(x[test]).argmax(1) == y[test]
    print(
        json.dumps(
            {
                **seconds, "shadows_cpu": middle, "test_accuracy": float(right.mean()),
                "scores": scores.tolist(), "climb": climb,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
