#include "worker/task/ingest.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "ursa/v1/datasets.pb.h"
#include "worker/data/image_decoder.h"
#include "worker/task/failpoints.h"

namespace ursa {
namespace {

using worker::v1::FileVerdict;
using worker::v1::TaskEvent;

constexpr int kCandidatesAtOnce = 256;  // fetched and reported together

// Reads and decodes one file.
FileVerdict Judge(const std::string& path) {
  FileVerdict verdict;
  const absl::StatusOr<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) {
    verdict.set_refused(std::string(bytes.status().message()));
    return verdict;
  }
  const absl::StatusOr<ImageHeader> header = ProbeImage(*bytes, ImageLimits());
  if (header.ok()) {
    verdict.set_width(header->width);
    verdict.set_height(header->height);
  } else {
    verdict.set_refused(std::string(header.status().message()));
  }
  return verdict;
}

}  // namespace

absl::StatusOr<worker::v1::TaskFinished> RunIngest(AgentClient* agent, const worker::v1::IngestAssignment& ingest) {
  URSA_ASSIGN_OR_RETURN(const std::vector<std::string> list_path, agent->FetchBlobs({ingest.candidates_hash()}));
  URSA_ASSIGN_OR_RETURN(const std::string list_bytes, ReadFile(list_path.front()));
  v1::CandidateList list;
  if (!list.ParseFromString(list_bytes)) {
    return absl::DataLossError(absl::StrCat("candidate list ", ingest.candidates_hash(), ": cannot be parsed"));
  }
  for (int first = 0; first < list.candidates_size(); first += kCandidatesAtOnce) {
    const int end = std::min(list.candidates_size(), first + kCandidatesAtOnce);
    std::vector<std::string> hashes;
    for (int i = first; i < end; ++i) {
      if (list.candidates(i).refused().empty()) hashes.push_back(list.candidates(i).hash());
    }
    URSA_ASSIGN_OR_RETURN(const std::vector<std::string> paths, agent->FetchBlobs(hashes));
    std::vector<TaskEvent> events(2);
    auto* report = events[0].mutable_ingest();
    report->set_first(first);
    auto path = paths.begin();
    for (int i = first; i < end; ++i) {
      const v1::Candidate& candidate = list.candidates(i);
      if (candidate.refused().empty()) {
        *report->add_verdicts() = Judge(*path++);
      } else {
        report->add_verdicts()->set_refused(candidate.refused());
      }
    }
    events[1].mutable_progress()->set_num_done(end);
    failpoints::ingest_checked.Pass();
    URSA_RETURN_IF_ERROR(agent->Report(std::move(events)));
    failpoints::ingest_reported.Pass();
  }
  worker::v1::TaskFinished finished;
  finished.set_outcome(worker::v1::TaskFinished::OUTCOME_COMPLETED);
  return finished;
}

}  // namespace ursa
