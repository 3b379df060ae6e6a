"""The standard workloads in PyTorch: eager, compiled, and as CUDA graphs; a line of JSON each.

    python3 benches/torch_graphs.py all                       eager
    python3 benches/torch_graphs.py all --compile             torch.compile of forward and loss
    python3 benches/torch_graphs.py all --graphs              whole steps captured as CUDA graphs
    python3 benches/torch_graphs.py all --compile --graphs    both
    python3 benches/torch_graphs.py vae --device cpu

Needs PyTorch 2.4 or newer and nothing else. All is f32 (no TF32). Batches lie on the device, the optimiser is the fused
Adam, and convolutions are tuned by cuDNN: as fast as PyTorch goes without changing the work.
"""

import argparse
import json
import resource
import statistics
import sys
import time


def fail(message, code=1):
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError as problem:
    fail(f"PyTorch cannot be imported ({problem})", 3)

# Batches that lie on the device and are gone through in turn.
POOL = 50
# Calls of an op that one CUDA graph holds.
CALLS = 20


def conv(channels_in, channels_out):
    return nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1)


def conv_transpose(channels_in, channels_out):
    return nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1)


def conv_ae():
    return nn.Sequential(
        *[conv(1, 16), nn.ReLU(), conv(16, 32), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 64)],
        *[nn.Linear(64, 1568), nn.ReLU(), nn.Unflatten(1, (32, 7, 7))],
        *[conv_transpose(32, 16), nn.ReLU(), conv_transpose(16, 1), nn.Sigmoid()],
    )


def conv_ae_wide():
    return nn.Sequential(
        *[conv(3, 64), nn.ReLU(), conv(64, 128), nn.ReLU(), conv(128, 256), nn.ReLU()],
        *[nn.Flatten(), nn.Linear(4096, 256), nn.Linear(256, 4096), nn.ReLU(), nn.Unflatten(1, (256, 4, 4))],
        *[conv_transpose(256, 128), nn.ReLU(), conv_transpose(128, 64), nn.ReLU(), conv_transpose(64, 3)],
        nn.Sigmoid(),
    )


def dense_ae():
    return nn.Sequential(
        *[nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU()],
        *[nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 784)],
    )


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU())
        self.mean = nn.Linear(400, 20)
        self.log_variance = nn.Linear(400, 20)
        self.decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))


def mse(model, x):
    return F.mse_loss(model(x), x)


def bce(model, x):
    return F.binary_cross_entropy_with_logits(model(x), x)


def evidence(model, x):
    hidden = model.encoder(x)
    mean, log_variance = model.mean(hidden), model.log_variance(hidden)
    code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    cross_entropy = F.binary_cross_entropy_with_logits(model.decoder(code), x, reduction="sum")
    divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
    return (cross_entropy + divergence) / x.shape[0]


# name: model, loss, batch, shape of a sample
TRAINING = {
    "conv-ae": (conv_ae, mse, 128, (1, 28, 28)),
    "dense-ae": (dense_ae, bce, 256, (784,)),
    "vae": (Vae, evidence, 128, (784,)),
    "conv-ae-wide": (conv_ae_wide, mse, 64, (3, 32, 32)),
}
KERNELS = ["matmul-256", "matmul-512", "matmul-1024", "matmul-2048", "conv3x3"]
GROUPS = {"all": [*TRAINING, *KERNELS], "training": list(TRAINING), "kernels": KERNELS}


def captured(run, device):
    """What `run` does, as a CUDA graph; `run` must read and write the same tensors each time."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def training(name, options, device):
    """The step, what reads its last loss, the batch, the steps of a call, and the first loss."""
    make, loss_of, batch, shape = TRAINING[name]
    batch = options.batch or batch
    torch.manual_seed(0)
    # Squares of uniform numbers: their mean is not the half that an untrained sigmoid gives, so that losses fall.
    pool = torch.rand(POOL, batch, *shape, device=device).square()
    model = make().to(device)
    fused = {"capturable": True} if options.graphs else {}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, fused=True, **fused)
    forward = torch.compile(lambda x: loss_of(model, x)) if options.compile else lambda x: loss_of(model, x)
    state = {"steps": 0, "loss": None}

    def train(x):
        optimizer.zero_grad(set_to_none=True)
        loss = forward(x)
        loss.backward()
        optimizer.step()
        state["loss"] = loss.detach()

    x = pool[0].clone()
    train(x)
    first_loss = state["loss"].item()
    if options.graphs:
        replay = captured(lambda: train(x), device)

    def step():
        batch = pool[state["steps"] % POOL]
        state["steps"] += 1
        if options.graphs:
            x.copy_(batch)
            replay()
        else:
            train(batch)

    return step, lambda: state["loss"].item(), batch, 1, first_loss


def kernel(name, options, device):
    """The call, what measures its error, the batch, the ops of a call, and the operations of an op."""
    torch.manual_seed(0)
    if name == "conv3x3":
        batch = options.batch or 32
        x, weight = torch.rand(batch, 64, 28, 28, device=device), torch.rand(64, 64, 3, 3, device=device) - 0.5
        apply, flop = (lambda: F.conv2d(x, weight, padding=1)), 2 * 9 * batch * 64 * 64 * 28 * 28
        exact = lambda: F.conv2d(x[:1].double(), weight.double(), padding=1)  # noqa: E731
    else:
        batch, size = 1, int(name.split("-")[1])
        x, weight = torch.rand(size, size, device=device) - 0.5, torch.rand(size, size, device=device) - 0.5
        apply, flop = (lambda: x @ weight), 2 * size**3
        exact = lambda: x[:1].double() @ weight.double()  # noqa: E731
    if options.compile:
        apply = torch.compile(apply)
    kept = {}

    def call():
        kept["output"] = apply()

    with torch.no_grad():
        call()

    def error():
        expected = exact()
        return ((kept["output"][:1] - expected).abs().max() / expected.abs().max()).item()

    if not options.graphs:
        return call, error, batch, 1, flop
    with torch.no_grad():
        return captured(lambda: [call() for _ in range(CALLS)], device), error, batch, CALLS, flop


def measure(name, options, device):
    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def timed(run, count):
        began = time.perf_counter()
        for _ in range(count):
            run()
        wait()
        return time.perf_counter() - began

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    make = training if name in TRAINING else kernel
    step, result, batch, each, known = make(name, options, device)
    wait()
    first_finished_step_s = time.perf_counter() - began
    first_step_s = timed(step, 1)
    # Only a wait tells the truth about the device, so the steps between two waits are doubled until they last.
    count = 1
    while (took := timed(step, count)) < min(0.25, options.block_seconds):
        count *= 2
    count = max(1, round(options.block_seconds * count / took))
    timed(step, count)
    warmup_s = time.perf_counter() - began
    rates = sorted(count * each / timed(step, count) for _ in range(options.blocks))
    trains = name in TRAINING
    scale = 1 if trains else known / 1e9
    line = {
        "peer": f"torch-{torch.__version__}" + "".join(f"-{kind}" for kind in kinds(options)),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "workload": name,
        "batch": batch,
        "steps_per_s" if trains else "gflops": statistics.median(rates) * scale,
        "min": rates[0] * scale,
        "max": rates[-1] * scale,
        "blocks": options.blocks,
        "steps_per_block": count * each,
        "first_step_s": first_step_s,
        "first_finished_step_s": first_finished_step_s,
        "warmup_s": warmup_s,
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if trains:
        line.update(first_loss=known, loss=result())
        if not line["loss"] < known:
            fail(f"{name}: the loss went from {known} to {line['loss']}")
    else:
        line.update(rel_err=result())
        if not line["rel_err"] < 1e-3:
            fail(f"{name}: an output is wrong by {line['rel_err']} of the largest")
    if device.type == "cuda":
        line["device_bytes"] = torch.cuda.max_memory_allocated(device)
    print(json.dumps(line), flush=True)


def kinds(options):
    chosen = [kind for kind in ("compile", "graphs") if getattr(options, kind)]
    return chosen or ["eager"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=["all"], help="names, or: all, training, kernels")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--graphs", action="store_true", help="needs CUDA")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--block-seconds", type=float, default=1.0)
    parser.add_argument("--batch", type=int, help="samples in a step, where that is not the workload's own number")
    parser.add_argument("--threads", type=int, help="on the CPU; PyTorch's own choice where not given")
    options = parser.parse_args()
    names = [one for name in options.workloads for one in GROUPS.get(name, [name])]
    for name in names:
        if name not in GROUPS["all"]:
            fail(f"{name} is no workload; there are {', '.join([*GROUPS, *GROUPS['all']])}", 2)
    if options.device == "cuda" and not torch.cuda.is_available():
        fail(f"PyTorch {torch.__version__} finds no CUDA device; use --device cpu", 3)
    if options.graphs and options.device != "cuda":
        fail("--graphs needs CUDA", 2)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    for name in names:
        measure(name, options, torch.device(options.device))


if __name__ == "__main__":
    main()
