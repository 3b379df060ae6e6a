"""Trains the preset `denoising` in PyTorch: the same layers, data, batches' size, optimiser and epochs, for comparison.

    python3 tests/twin.py MNIST_FOLDER [--noise 0.4] [--epochs 10] [--seed 0] [--threads 2]

Without noise it is the convolutional autoencoder of the Keras examples, as is `--set corruption="none"` of the preset. Prints
each epoch's mean loss over the training set, and at the end the loss over the test set as JSON. Takes torch and numpy.
"""

import argparse
import gzip
import json
import pathlib
import time

import numpy
import torch
from torch import nn


def images(folder, name):
    path = pathlib.Path(folder) / name
    data = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(name + ".gz").read_bytes())
    return torch.from_numpy(numpy.frombuffer(data, numpy.uint8, offset=16).reshape(-1, 1, 28, 28).copy()).float() / 255


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    train = images(args.folder, "train-images-idx3-ubyte")
    test = images(args.folder, "t10k-images-idx3-ubyte")
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.ConvTranspose2d(32, 32, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
        nn.ConvTranspose2d(32, 32, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_of = nn.BCEWithLogitsLoss()

    def corrupted(x):
        return (x + args.noise * torch.randn_like(x)).clamp(0, 1) if args.noise > 0 else x

    for epoch in range(args.epochs):
        started, total = time.time(), 0.0
        order = torch.randperm(len(train))
        for start in range(0, len(train), 128):
            x = train[order[start : start + 128]].contiguous(memory_format=torch.channels_last)
            loss = loss_of(model(corrupted(x)), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        print(f"epoch {epoch + 1}: {total / len(train):.6f}, {time.time() - started:.0f} s", flush=True)
    with torch.no_grad():
        parts = [loss_of(model(corrupted(x)), x).item() * len(x) for x in test.split(500)]
    print(json.dumps({"noise": args.noise, "epochs": args.epochs, "seed": args.seed, "loss": sum(parts) / len(test)}))


if __name__ == "__main__":
    main()
