"""The network as its equations read, one task, one trajectory per lane: the slow twin of `net`.

Edge features are formed, triplets are a tensor of rank five, edge pointers are encoded and
decoded in full, outputs are decoded at every step and the last one is kept [spec A3, A4].
"""

import jax
import jax.numpy as jnp

from algorithmic.clrs import processors


def linear(p, x):
    return x @ p["w"] + p["b"]


def encode(params, table, given):
    """(node, edge, graph) features: every probe through its own linear map."""
    node = sum_channels(params["node"], table.node, given["node"])
    edge = sum_channels(params["edge"], table.edge, given["edge"])
    graph = sum_channels(params["graph"], table.graph, given["graph"])
    for p in range(given["pointer"].shape[0]):
        if table.pointer[p]:
            w, b = params["pointer"]["w"][p], params["pointer"]["b"][p]
            edge = edge + given["pointer"][p][..., None] * w + b
    for q in range(given["edge_pointer"].shape[0]):
        if table.edge_pointer[q]:
            x = given["edge_pointer"][q][..., None]  # i, j, k, 1
            one, two = params["over_senders"], params["over_receivers"]
            edge = edge + jnp.mean(x * one["w"][q] + one["b"][q], axis=0)
            edge = edge + jnp.mean(x * two["w"][q] + two["b"][q], axis=1)
    return node, edge, graph


def sum_channels(params, table, x):
    total = x @ params["w"]
    for c in range(x.shape[-1]):
        if table.head[c]:
            total = total + params["b"][c]
    return total


def process(p, z, edge, graph, hidden):
    """Triplet-GMPNN; returns (new hidden, edge outputs)."""
    m = linear(p["receiver"], z)[None, :] + linear(p["sender"], z)[:, None]
    m = jax.nn.relu(m + linear(p["edge"], edge) + linear(p["graph"], graph))
    m = linear(p["mlp2"], jax.nn.relu(linear(p["mlp1"], m)))
    m = in_order(p["lstm"], m) if "lstm" in p else jnp.max(m, axis=0)  # over senders
    out = jax.nn.relu(linear(p["out_z"], z) + linear(p["out_m"], m))
    out = processors.norm(p["norm"], out.T).T
    gate = jax.nn.sigmoid(
        linear(p["gate"], jax.nn.relu(linear(p["gate_z"], z) + linear(p["gate_m"], m)))
    )
    out = gate * out + (1 - gate) * hidden
    t = (
        linear(p["t1"], z)[:, None, None]
        + linear(p["t2"], z)[None, :, None]
        + linear(p["t3"], z)[None, None, :]
        + linear(p["e1"], edge)[:, :, None]
        + linear(p["e2"], edge)[:, None, :]
        + linear(p["e3"], edge)[None, :, :]
        + linear(p["tg"], graph)
    )
    return out, jax.nn.relu(linear(p["t_out"], jnp.max(t, axis=0)))


def in_order(p, m):
    """An LSTM over the senders, one after another; the state after the last."""
    cell = shown = jnp.zeros(m.shape[1:])
    for sent in m:
        gates = linear(p, jnp.concatenate([sent, shown], -1))
        enter, keep, new, leave = jnp.split(gates, 4, axis=-1)
        cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(enter) * jnp.tanh(new)
        shown = jax.nn.sigmoid(leave) * jnp.tanh(cell)
    return shown


def hear(p, node, edge, graph):
    """Encodings of nodes after a layer of messages with a gate per node."""
    m = linear(p["sender"], node)[:, None] + linear(p["receiver"], node)[None, :]
    m = jax.nn.relu(m + linear(p["edge"], edge) + linear(p["graph"], graph))
    m = jnp.max(linear(p["mlp2"], jax.nn.relu(linear(p["mlp1"], m))), axis=0)
    return node + jax.nn.sigmoid(linear(p["gate"], jnp.concatenate([node, m], -1))) * m


def carried(p, z, h):
    """The gates of what is carried on."""
    return jax.nn.sigmoid(linear(p["gate"], jax.nn.relu(linear(p["z"], z) + linear(p["h"], h))))


def decode(params, h_t, e_t, graph):
    """Logits of every slot."""
    node = linear(params["node"], h_t)
    p = params["edge"]
    edge = (h_t @ p["from"])[:, None] + (h_t @ p["to"])[None, :] + e_t @ p["edge"] + p["b"].sum(0)
    p = params["graph"]
    top = jnp.max(h_t, axis=0) @ p["node"] + graph @ p["graph"] + p["b"].sum(0)
    pointer, pair = [], []
    for i in range(params["pointer"]["score_b"].shape[0]):
        p = jax.tree.map(lambda w, i=i: w[i], params["pointer"])
        one, two = h_t @ p["from"] + p["b"][0], h_t @ p["to"] + p["b"][1]
        three = e_t @ p["edge"] + p["b"][2]
        m = jnp.maximum(one[:, None], two[None, :] + jnp.swapaxes(three, 0, 1))
        pointer.append(m @ p["score"] + p["score_b"])
    for i in range(params["edge_pointer"]["score_b"].shape[0]):
        p = jax.tree.map(lambda w, i=i: w[i], params["edge_pointer"])
        q = (h_t @ p["from"] + p["b"][0])[:, None] + (h_t @ p["to"] + p["b"][1])[None, :]
        q = q + e_t @ p["edge"] + p["b"][2]
        r = h_t @ p["target"] + p["b"][3]
        m = jnp.maximum(q[:, :, None], r[None, None])
        pair.append(m @ p["score"] + p["score_b"])
    return {"node": node, "edge": edge, "graph": top, "pointer": pointer, "edge_pointer": pair}


def hard(values, n):
    """True probes of one sample as fed in; `values` has pointers as indices, last axis slots."""
    at = jnp.arange(values.pointer.shape[0])[:n]
    edge, edge_pointer = square(values)
    return {
        "node": values.node[:n],
        "edge": edge[:n, :n],
        "graph": values.graph,
        "pointer": jnp.moveaxis(values.pointer[:n, ..., None] == at, 1, 0).astype(jnp.float32),
        "edge_pointer": jnp.moveaxis(edge_pointer[:n, :n, :, None] == at, 2, 0).astype(jnp.float32),
    }


def square(values):
    """What belongs to pairs of nodes, (N, N, C) each: edge probes and the pointers of edges."""
    size = values.node.shape[0]
    return (v.reshape(size, size, v.shape[-1]) for v in (values.edge, values.edge_pointer))


def soft(logits, table):
    """Predictions as fed back, channel by channel."""

    def plain(x, t, over_nodes):
        columns = []
        for c in range(x.shape[-1]):
            kind = t.kind[c]
            if kind[0]:
                columns.append(x[..., c])
            elif kind[1]:
                columns.append(jax.nn.sigmoid(x[..., c]))
            elif kind[2]:
                columns.append(jax.nn.softmax(x[..., c], axis=over_nodes))
            elif kind[3]:
                among = jnp.asarray(t.group[c] > 0)
                weights = jax.nn.softmax(jnp.where(among, x, -jnp.inf), axis=-1)
                columns.append(weights[..., c])
            else:
                columns.append(jnp.zeros(x.shape[:-1]))
        return jnp.stack(columns, -1) if columns else x

    empty = lambda n, rank: jnp.zeros((0,) + (n,) * rank)
    n = logits["node"].shape[0]
    stack = lambda parts, rank: (
        jnp.stack([jax.nn.softmax(x, axis=-1) for x in parts]) if parts else empty(n, rank)
    )
    return {
        "node": plain(logits["node"], table.node, 0),
        "edge": plain(logits["edge"], table.edge, None),
        "graph": plain(logits["graph"], table.graph, None),
        "pointer": stack(logits["pointer"], 2),
        "edge_pointer": stack(logits["edge_pointer"], 3),
    }


def probe_losses(logits, truth, table, n):
    """(sum, count) of every live slot, by name of location and slot."""
    out = {}

    def plain(where, x, y, t):
        for c in range(x.shape[-1]):
            if not t.head[c]:
                continue
            kind = t.kind[c]
            a, b = x[..., c], y[..., c]
            if kind[0]:
                loss, count = jnp.sum((a - b) ** 2), a.size
            elif kind[1]:
                asked = b != -1
                each = jnp.maximum(a, 0) - a * b + jnp.log1p(jnp.exp(-jnp.abs(a)))
                loss, count = jnp.sum(jnp.where(asked, each, 0.0)), jnp.sum(asked)
            elif kind[2]:
                loss, count = -jnp.sum(b * jax.nn.log_softmax(a)), 1
            else:
                mine = [k for k in range(x.shape[-1]) if t.group[c][k]]
                a, b = x[..., mine], y[..., mine]
                live = jnp.any(b == 1, axis=-1)
                each = -jnp.sum((b == 1) * jax.nn.log_softmax(a), axis=-1)
                loss, count = jnp.sum(each * live), jnp.sum(live)
            out[where, c] = (loss, count)

    plain("node", logits["node"], truth.node[:n], table.node)
    edge, edge_pointer = square(truth)
    plain("edge", logits["edge"], edge[:n, :n], table.edge)
    plain("graph", logits["graph"], truth.graph, table.graph)
    for i, x in enumerate(logits["pointer"]):
        if table.pointer[i]:
            hot = truth.pointer[:n, i, None] == jnp.arange(n)
            out["pointer", i] = (-jnp.sum(hot * jax.nn.log_softmax(x)), n)
    for i, x in enumerate(logits["edge_pointer"]):
        if table.edge_pointer[i]:
            hot = edge_pointer[:n, :n, i, None] == jnp.arange(n)
            out["edge_pointer", i] = (-jnp.sum(hot * jax.nn.log_softmax(x)), n * n)
    return out


def sample_losses(shared, own, table, runs, b, n, length, config):
    """Losses of sample b, unpadded: {slot: (sum, count)} of hints, of outputs, of what goes beyond
    the paper ("rebuild", slot), ("forget",), ("stop",)."""
    take = lambda values: jax.tree.map(lambda v: v[b], values)
    given = hard(take(runs.inputs), n)
    hidden = jnp.zeros((n, config.hidden))
    hints_total, outputs, extra = {}, None, {}

    def add(total, found):
        for slot, (loss, count) in found.items():
            old = total.get(slot, (0.0, 0.0))
            total[slot] = (old[0] + loss, old[1] + count)

    hints = None
    for step in range(max(length - 1, 1)):
        if step == 0:
            hints = hard(jax.tree.map(lambda v: v[0, b], runs.hints), n)
        n1, e1, g1 = encode(own["encode_inputs"], table.inputs, given)
        n2, e2, g2 = encode(own["encode_hints"], table.hints, hints)
        node, edge, graph = n1 + n2, e1 + e2, g1 + g2
        if config.rebuild:
            node = hear(own["rebuild"]["layer"], node, edge, graph)
        z = jnp.concatenate([node, hidden], -1)
        new, outer = process(shared, jnp.concatenate([node, hidden], -1), edge, graph, hidden)
        h_t = jnp.concatenate([node, hidden, new], -1)
        e_t = jnp.concatenate([edge, outer], -1)
        logits = decode(own["decode_hints"], h_t, e_t, graph)
        outputs = decode(own["decode_outputs"], h_t, e_t, graph)
        if step + 1 < length:
            truth = jax.tree.map(lambda v, s=step: v[s + 1, b], runs.hints)
            add(hints_total, probe_losses(logits, truth, table.hints, n))
            if config.rebuild:
                said = decode(own["rebuild"]["hints"], node, edge, graph)
                now = jax.tree.map(lambda v, s=step: v[s, b], runs.hints)
                found = probe_losses(said, now, table.hints, n)
                add(extra, {("rebuild", *slot): value for slot, value in found.items()})
        if config.stop:
            top = jnp.concatenate([jnp.max(h_t, axis=0), graph])
            ended = linear(own["stop"], top)[0]
            last = float(step == max(length - 2, 0))
            add(extra, {("stop",): (jnp.log1p(jnp.exp(ended)) - ended * last, 1)})
        if config.history == "gated":
            gates = carried(shared["forget"], z, new)
            if step + 1 < length:
                add(extra, {("forget",): (jnp.sum(gates**2), gates.size)})
            new = gates * new
        hidden = jnp.zeros_like(new) if config.history == "none" else new
        hints = soft(logits, table.hints)
    return hints_total, probe_losses(outputs, take(runs.outputs), table.outputs, n), extra


def loss(shared, own, table, runs, sizes, lengths, config):
    """The training loss of a batch: per probe the mean over its cells, added up over probes."""
    totals = {}
    weights = {"rebuild": config.rebuild, "forget": config.forget}
    for b, (n, length) in enumerate(zip(sizes, lengths, strict=True)):
        for stage, found in zip(
            ("hint", "output", "extra"),
            sample_losses(shared, own, table, runs, b, n, length, config),
            strict=True,
        ):
            for slot, (value, count) in found.items():
                old = totals.get((stage, slot), (0.0, 0.0))
                totals[stage, slot] = (old[0] + value, old[1] + count)
    return sum(
        (weights.get(slot[0], 1.0) if stage == "extra" else 1.0) * value / jnp.maximum(count, 1e-12)
        for (stage, slot), (value, count) in totals.items()
    )
