"""What transformers computes for an exported T5; runs in the environment of that peer.

`python t5_reference.py FOLDER` reads a checkpoint and `inputs.npz` (`tokens`, `mask`, `labels`
with -100 where none counts, `count`, `beams`) and writes `outputs.npz`: logits, loss, the
gradient of every parameter, greedy tokens, beams with their scores, keys that loading missed.
"""

import pathlib
import sys

import numpy as np
import torch
import transformers


def main(folder: pathlib.Path) -> None:
    """Reads the inputs, writes the outputs."""
    torch.set_num_threads(1)
    given = {k: torch.from_numpy(v) for k, v in np.load(folder / "inputs.npz").items()}
    model, info = transformers.T5ForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    model.eval()
    tokens, mask = given["tokens"].long(), given["mask"].long()
    out = model(input_ids=tokens, attention_mask=mask, labels=given["labels"].long())
    out.loss.backward()
    problems = [str(k) for kind in ("missing_keys", "unexpected_keys") for k in info[kind]]
    found = {
        "logits": out.logits.detach().numpy(),
        "loss": np.float64(out.loss.item()),
        "problems": np.array(problems, dtype="U"),
    }
    for name, parameter in model.named_parameters():
        found["gradient/" + name] = parameter.grad.numpy()
    count, beams = int(given["count"]), int(given["beams"])
    settings = {"attention_mask": mask, "max_new_tokens": count, "do_sample": False}
    with torch.no_grad():
        greedy = model.generate(tokens, num_beams=1, **settings)[:, 1:]
        searched = model.generate(
            tokens,
            num_beams=beams,
            num_return_sequences=beams,
            length_penalty=1.0,
            early_stopping=False,
            return_dict_in_generate=True,
            output_scores=True,
            **settings,
        )
    fill = lambda a: np.pad(a, [(0, 0), (0, count - a.shape[1])])
    found["greedy"] = fill(greedy.numpy())
    found["beams"] = fill(searched.sequences[:, 1:].numpy()).reshape(len(tokens), beams, count)
    found["scores"] = searched.sequences_scores.numpy().reshape(len(tokens), beams)
    np.savez_compressed(folder / "outputs.npz", **found)


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    main(pathlib.Path(sys.argv[1]))
