// What `ursa dataset import` does before the server takes over: hashing, labelling and sending what is missing.
#ifndef URSA_CLIENT_CLI_IMPORT_H_
#define URSA_CLIENT_CLI_IMPORT_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/output.h"
#include "client/cli/walk.h"
#include "client/lib/client.h"
#include "experiments/splitters.h"
#include "ursa/v1/datasets.pb.h"

namespace ursa::cli {

// Hashes the files that are not refused, on all cores. hashes[i] belongs to files[i]; a file that cannot be read is
// refused now. `on_progress` gets files done, from the calling thread.
std::vector<std::string> HashFiles(std::vector<FoundFile>* files, const std::function<void(int64_t)>& on_progress);

// The list of candidates that the server decides on. `hashes` as from HashFiles. A file without a label, or with one
// that cannot be sent, is refused.
v1::CandidateList MakeCandidates(const std::vector<FoundFile>& files, const std::vector<std::string>& hashes,
                                 const LabelRule& labels, SplitRule::Kind split);

// Imports a folder and waits for the version. Errors: of every step; FAILED_PRECONDITION: no picture was found.
absl::StatusOr<v1::DatasetVersion> ImportFolder(Client* client, const std::string& dataset, const std::string& source,
                                                const LabelRule& labels, const SplitRule& split, Output* out);

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_IMPORT_H_
