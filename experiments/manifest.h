// From what an import found to a dataset version: which examples are in it, under which label, in which split. Pure:
// the same candidates and verdicts give the same manifest and hash anywhere.
#ifndef URSA_EXPERIMENTS_MANIFEST_H_
#define URSA_EXPERIMENTS_MANIFEST_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ursa/v1/datasets.pb.h"

namespace ursa {

struct ManifestLimits {
  int64_t num_candidates_max = 10'000'000;
  int64_t num_classes_max = 65'536;
  size_t label_bytes_max = 256;
  size_t source_bytes_max = 4096;
};

// Checks a list that a client has sent, before anything is done with it: limits, hashes, sizes, split names, valid
// UTF-8 without control characters, and sources that are in strict bytewise order (so none comes twice). Errors:
// INVALID_ARGUMENT, with the candidate and for a limit both numbers.
absl::Status CheckCandidates(const v1::CandidateList& list, const ManifestLimits& limits = {});

struct BuiltManifest {
  v1::Manifest manifest;

  // num_*, classes, refused (in bytewise order of source), manifest_hash, split (as SplitRule::ToString). The caller
  // adds name, dataset, version, create_time, creator, import_name.
  v1::DatasetVersion summary;
};

// Makes the version of a list that CheckCandidates accepted.
//
// `refusals` has one text a candidate: why its file was refused, empty if it was decoded (candidates that the client
// refused keep the client's reason). Then, in order:
//   - a candidate without a label, or without a split where the rule takes it from the source, is refused;
//   - candidates of equal bytes and equal label are one example, the first by source; the others count as duplicates;
//   - candidates of equal bytes under two labels are all refused, each naming one of the other label;
//   - what is left, in bytewise order of source, is split by `split` (see splitters.h);
//   - classes are the labels of the training split.
//
// Errors: INVALID_ARGUMENT: a bad `split`; nothing accepted (with the first reason); fewer than two classes; too many
// classes; no training example; neither a validation nor a test example; a label that only validation or test has (with
// the label, and a hint).
absl::StatusOr<BuiltManifest> BuildManifest(const v1::CandidateList& list, const std::vector<std::string>& refusals,
                                            std::string_view split, int64_t num_ignored,
                                            const ManifestLimits& limits = {});

// SHA-256 over (id, label, split) of the examples in order of id: equal content has an equal hash whatever the files
// were called. 64 lower-case hex digits.
std::string ManifestHash(const v1::Manifest& manifest);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_MANIFEST_H_
