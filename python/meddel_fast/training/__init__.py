"""Networks: encoders, pre-training, embedding, and what an encoder is measured by.

=========================================  =========================================================
``settings``                               the settings of all of these
``encoders``                               vision transformers and others: files, layout, image
                                           processor, tokens
``embed``                                  embeddings of a manifest's images, in shards that survive
                                           a kill
``embedder``                               the encoder that does it, for one process or many
``altered_copies``                         how near an encoder puts copies that were altered
``pretrain``, ``methods``, ``checkpoint``  pre-training on a subset; by which method; what it
                                           resumes from
``augment``                                crops and colours that pre-training varies
``mae_loss``                               the loss of a masked autoencoder, without the work that
                                           its network throws away
``untrained``                              the network that a pre-training starts from
``reconstruction``                         what a masked autoencoder cannot restore
``tasks``                                  classification, localisation, segmentation behind one
                                           interface
``downstream``                             the head for segmentation: trained, evaluated
``segmentation``                           that head's parts, its loss, its scores
``predictions``                            predicted masks on disk
``balanced_sampler``                       indices for a ``DataLoader``, balanced over a tree of
                                           clusters
``loader``                                 decoded images in memory, batches ahead of the network
``device``                                 where torch computes, in which precision, from which
                                           seeds
``optimise``                               the optimiser and the schedule that all share
``speed``                                  images a second, beside those of the bare step
=========================================  =========================================================
"""

from __future__ import annotations

from meddel_fast.training.balanced_sampler import BalancedSampler

__all__ = ["BalancedSampler"]
