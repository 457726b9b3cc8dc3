"""The fastai side of finetune_vs_fastai: the book's recipe as its users would run it. Run by the virtual environment's Python.

Use: finetune_fastai.py PHOTOS WEIGHTS SEED FREEZE_EPOCHS EPOCHS [SIZE]
Prints one JSON object: seconds of `fine_tune`, error rate after each epoch.
"""

import json
import sys
import time

import timm
import torch
from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, Normalize, RandomResizedCrop, RandomSplitter, aug_transforms, error_rate,
                               get_image_files, parent_label, set_seed, vision_learner)

photos, weights, seed, freeze_epochs, epochs = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
size = int(sys.argv[6]) if len(sys.argv) > 6 else 224


def load_pretrained(learner):
    """Copies the packaged ImageNet weights into the body. They have names of their own, but timm's order and shapes."""
    packaged = list(torch.load(weights, map_location="cpu", weights_only=True).values())
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    assert [t.shape for t in packaged] == [t.shape for t in theirs.values()]
    named = dict(zip(theirs, packaged))
    body = learner.model[0].model
    missing = body.load_state_dict(named, strict=False).missing_keys
    assert not missing, missing


set_seed(seed)
block = DataBlock(blocks=(ImageBlock, CategoryBlock), get_items=lambda p: sorted(get_image_files(p)), splitter=RandomSplitter(0.2, seed=seed), get_y=parent_label,
                  item_tfms=RandomResizedCrop(size, min_scale=0.5),
                  batch_tfms=[*aug_transforms(), Normalize.from_stats([0.5] * 3, [0.5] * 3)])
loaders = block.dataloaders(photos, bs=64)
learner = vision_learner(loaders, "tf_efficientnet_lite0", pretrained=False, normalize=False, metrics=error_rate)
load_pretrained(learner)
rows = []


def keep_row(row):
    rows.append(list(row))


with learner.no_bar():
    learner.logger = keep_row
    began = time.time()
    learner.fine_tune(epochs, freeze_epochs=freeze_epochs)
    seconds = time.time() - began
errors = [float(row[3]) for row in rows if row and str(row[0]).isdigit()]
print(json.dumps({"seconds": seconds, "errors": errors, "threads": torch.get_num_threads(), "torch": torch.__version__}))
