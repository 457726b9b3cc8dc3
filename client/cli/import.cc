#include "client/cli/import.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "client/cli/text.h"

namespace ursa::cli {
namespace {

constexpr size_t kLabelBytesMax = 256;  // the server's limit: told for each file instead of for the whole import

// Sends the blobs that the server lacks, then the list itself. Returns the list's hash.
absl::StatusOr<std::string> Upload(Client* client, const std::vector<FoundFile>& files, const v1::CandidateList& list,
                                   Output* out) {
  std::unordered_map<std::string, const FoundFile*> file_of;  // equal files are sent once
  std::vector<std::string> hashes;
  for (size_t i = 0; i < files.size(); ++i) {
    const v1::Candidate& candidate = list.candidates(static_cast<int>(i));
    if (candidate.refused().empty() && file_of.emplace(candidate.hash(), &files[i]).second)
      hashes.push_back(candidate.hash());
  }
  BlobSource list_blob;
  if (!list.SerializeToString(&list_blob.bytes)) return absl::InternalError("list of candidates: cannot be serialized");
  list_blob.hash = Sha256Hex(list_blob.bytes);
  list_blob.size = static_cast<int64_t>(list_blob.bytes.size());
  URSA_ASSIGN_OR_RETURN(const std::vector<std::string> missing, client->FindMissingBlobs(hashes));
  std::vector<BlobSource> blobs;
  for (const std::string& hash : missing) {
    const FoundFile& file = *file_of.at(hash);
    blobs.push_back({hash, file.size, file.path, ""});
  }
  const std::string list_hash = list_blob.hash;
  blobs.push_back(std::move(list_blob));
  Progress progress(out, "uploading", "", Progress::Unit::kBytes);
  const auto on_progress = [&progress](const UploadProgress& now) { progress.Update(now.bytes_done, now.bytes_total); };
  URSA_RETURN_IF_ERROR(client->UploadBlobs(blobs, on_progress));
  return list_hash;
}

std::string SplitOf(const std::string& source, const LabelRule& labels) {
  // Labels from a pattern need no folder of their own: train/cat_1.jpg.
  const std::string parent = ParentFolder(source);
  if (!labels.is_parent() && IsSplitName(parent)) return parent;
  const std::string grandparent = GrandparentFolder(source);
  return IsSplitName(grandparent) ? grandparent : "";
}

}  // namespace

std::vector<std::string> HashFiles(std::vector<FoundFile>* files, const std::function<void(int64_t)>& on_progress) {
  std::vector<std::string> hashes(files->size());
  std::atomic<size_t> next{0};
  std::atomic<int64_t> num_done{0};
  const auto work = [&] {
    for (size_t i = next++; i < files->size(); i = next++) {
      FoundFile& file = (*files)[i];
      if (file.refused.empty()) {
        absl::StatusOr<std::string> hash = Sha256HexOfFile(file.path);
        if (hash.ok()) {
          hashes[i] = *std::move(hash);
        } else {
          file.refused = std::string(hash.status().message());
        }
      }
      ++num_done;
    }
  };
  std::vector<std::thread> threads;
  const size_t num_threads = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 16);
  for (size_t i = 0; i < std::min(num_threads, files->size()); ++i) threads.emplace_back(work);
  Clock* const clock = Clock::Real();
  while (num_done < static_cast<int64_t>(files->size())) {
    on_progress(num_done);
    clock->SleepUntil(clock->Now() + absl::Milliseconds(5));
  }
  for (std::thread& thread : threads) thread.join();
  on_progress(num_done);
  return hashes;
}

v1::CandidateList MakeCandidates(const std::vector<FoundFile>& files, const std::vector<std::string>& hashes,
                                 const LabelRule& labels, SplitRule::Kind split) {
  v1::CandidateList list;
  for (size_t i = 0; i < files.size(); ++i) {
    v1::Candidate& candidate = *list.add_candidates();
    candidate.set_source(files[i].source);
    const std::optional<std::string> label = labels.LabelOf(files[i].source);
    std::string refused = files[i].refused;
    if (refused.empty() && !label.has_value()) refused = "has no label, the pattern does not match";
    if (refused.empty() && label->empty()) refused = "has no label, it is empty";
    if (refused.empty() && label->size() > kLabelBytesMax)
      refused = absl::StrCat("has a label of ", label->size(), " bytes, the limit is ", kLabelBytesMax);
    if (!refused.empty()) {
      candidate.set_refused(ToValidUtf8(refused));
      continue;
    }
    candidate.set_hash(hashes[i]);
    candidate.set_size(files[i].size);
    candidate.set_label(*label);
    if (split == SplitRule::Kind::kFolder) candidate.set_split(SplitOf(files[i].source, labels));
  }
  return list;
}

absl::StatusOr<v1::DatasetVersion> ImportFolder(Client* client, const std::string& dataset, const std::string& source,
                                                const LabelRule& labels, const SplitRule& split, Output* out) {
  URSA_ASSIGN_OR_RETURN(WalkResult found, WalkPictures(source, /*ignore_root_files=*/labels.is_parent()));
  if (found.files.empty())
    return absl::FailedPreconditionError(absl::StrCat(
        "source \"", Printable(source), "\": has no picture in a folder of its label, ",
        Plural(found.num_ignored, "file was", "files were"),
        " ignored (hint: SOURCE/LABEL/PICTURE, with the extension ", absl::StrJoin(PictureExtensions(), ", "), ")"));
  std::vector<std::string> hashes;
  {
    Progress progress(out, "reading", "files", Progress::Unit::kCount);
    const auto total = static_cast<int64_t>(found.files.size());
    hashes = HashFiles(&found.files, [&](int64_t done) { progress.Update(done, total); });
  }
  const v1::CandidateList list = MakeCandidates(found.files, hashes, labels, split.kind);
  v1::ImportDatasetRequest request;
  URSA_ASSIGN_OR_RETURN(*request.mutable_candidates_hash(), Upload(client, found.files, list, out));
  request.set_dataset(dataset);
  request.set_split(split.ToString());
  request.set_num_ignored(found.num_ignored);
  URSA_ASSIGN_OR_RETURN(v1::Import import, client->ImportDataset(request));
  Progress progress(out, "checking", "pictures", Progress::Unit::kCount);
  const auto on_change = [&progress](const v1::Import& now) {
    progress.Update(now.num_checked(), now.num_candidates());
  };
  URSA_ASSIGN_OR_RETURN(import, client->WaitForImport(import.name(), on_change));
  if (import.state() != v1::Import::STATE_COMPLETED) return absl::FailedPreconditionError(import.reason());
  return import.version();
}

}  // namespace ursa::cli
