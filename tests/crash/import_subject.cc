#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/digest.h"
#include "tests/crash/process.h"
#include "tests/crash/subjects.h"
#include "tests/crash/uploads.h"

namespace ursa::crash {
namespace {

constexpr int kSide = 32;
constexpr char kSplit[] = "random:0.25:seed=1";
constexpr const char* kClasses[] = {"across", "down"};
constexpr absl::Duration kPoll = absl::Milliseconds(60);

// A noisy striped picture as a binary PPM; the stripes lie across in class 0, down in class 1.
std::string DrawStripes(int class_index, Rng* rng) {
  std::string picture = absl::StrFormat("P6\n%d %d\n255\n", kSide, kSide);
  const uint64_t period = 4 + rng->Below(6);
  const uint64_t base = 40 + rng->Below(120);
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const uint64_t along = static_cast<uint64_t>(class_index == 0 ? y : x);
      const uint64_t value = base + (along % period < period / 2 ? 60 : 0);
      for (int c = 0; c < 3; ++c) picture += static_cast<char>(value + rng->Below(20));
    }
  }
  return picture;
}

// Whether its task was killed so often that it was not started again: an end as it should be.
bool IsGivenUp(const std::string& reason) { return absl::StrContains(reason, "died 3 times"); }

// Pictures with their list, as a client walks a folder.
struct Source {
  std::map<std::string, std::string> bytes;  // by hash
  v1::CandidateList list;
  std::string list_hash;

  Source(int num_pictures, Rng* rng) {
    for (int i = 0; i < num_pictures; ++i) {
      const int class_index = 2 * i / num_pictures;
      std::string picture = DrawStripes(class_index, rng);
      v1::Candidate* candidate = list.add_candidates();
      candidate->set_label(kClasses[class_index]);
      candidate->set_source(absl::StrFormat("%s/%03d.ppm", candidate->label(), i));
      candidate->set_hash(Sha256Hex(picture));
      candidate->set_size(static_cast<int64_t>(picture.size()));
      bytes[candidate->hash()] = std::move(picture);
    }
    list_hash = Sha256Hex(list.SerializeAsString());
    bytes[list_hash] = list.SerializeAsString();
  }

  absl::Status Upload(Api* api) const {
    for (const auto& [hash, blob] : bytes) URSA_RETURN_IF_ERROR(UploadBytes(api, hash, blob));
    return absl::OkStatus();
  }
};

v1::ImportDatasetRequest ImportRequest(const std::string& dataset, const Source& source) {
  v1::ImportDatasetRequest request;
  request.set_dataset(dataset);
  request.set_candidates_hash(source.list_hash);
  request.set_split(kSplit);
  return request;
}

class ImportSubject : public Subject {
 public:
  ImportSubject(std::string model, Names* names, Rng* rng)
      : Subject(names->Next("dataset")), model_(std::move(model)), source_(8, rng) {
    import_ = MakeChange<v1::DatasetService::Stub, v1::ImportDatasetRequest, v1::Import>(
        &Api::datasets, &v1::DatasetService::Stub::ImportDataset, ImportRequest(name(), source_),
        names->Next("request"), &tally_, [this](const v1::Import& import) { import_name_ = import.name(); });
    v1::CreateEvaluationRequest request;
    request.set_model(model_);
    request.set_dataset(absl::StrCat("datasets/", name(), "/versions/1"));
    request.set_split("train");
    evaluate_ = MakeChange<v1::EvaluationService::Stub, v1::CreateEvaluationRequest, v1::Evaluation>(
        &Api::evaluations, &v1::EvaluationService::Stub::CreateEvaluation, request, names->Next("request"), &tally_,
        [this](const v1::Evaluation& evaluation) { evaluation_name_ = evaluation.name(); });
  }

  absl::Status Step(Api* api, Rng*) override {
    switch (stage_) {
      case Stage::kUpload:
        return Advance(source_.Upload(api), Stage::kImport);
      case Stage::kImport:
        return Change(import_, api, Stage::kImporting);
      case Stage::kImporting:
        return WaitForImport(api);
      case Stage::kEvaluate:
        return Change(evaluate_, api, Stage::kEvaluating);
      case Stage::kEvaluating:
        return WaitForEvaluation(api);
      case Stage::kDone:
        break;
    }
    return absl::OkStatus();
  }

  // An unknown call is sent again by the next step, with its request id: what it did is then seen to be done once.
  absl::Status Check(Api* api, Rng*) override {
    URSA_ASSIGN_OR_RETURN(const std::vector<v1::DatasetVersion> all,
                          (api->Pages<v1::DatasetVersion>(api->datasets, &v1::DatasetService::Stub::ListDatasetVersions,
                                                          v1::ListDatasetVersionsRequest(),
                                                          &v1::ListDatasetVersionsResponse::mutable_versions)));
    const auto num_versions =
        std::count_if(all.begin(), all.end(), [this](const auto& version) { return version.dataset() == name(); });
    const bool may_be = stage_ >= Stage::kImport;
    const bool must_be = has_version_;
    if (num_versions > (may_be ? 1 : 0) || (must_be && num_versions == 0)) {
      return Finding(absl::StrCat(num_versions, " versions, must be ", must_be ? "" : "at most ", may_be ? 1 : 0));
    }
    if (must_be) URSA_RETURN_IF_ERROR(CheckExamples(api));
    if (stage_ == Stage::kDone && !evaluation_name_.empty()) {
      URSA_ASSIGN_OR_RETURN(const v1::Evaluation evaluation, GetEvaluation(api));
      if (evaluation.SerializeAsString() != evaluation_.SerializeAsString() &&
          !google::protobuf::util::MessageDifferencer::Equals(evaluation, evaluation_)) {
        return Finding("its evaluation has changed");
      }
    }
    return absl::OkStatus();
  }

  bool IsDone() const override { return stage_ == Stage::kDone; }

  void AddAudit(std::map<std::string, int>* expected) const override {
    if (!import_name_.empty()) ++(*expected)[AuditKey("dataset.import", import_name_)];
    if (has_version_) {
      ++(*expected)[AuditKey("dataset.commit", absl::StrCat("datasets/", name(), "/versions/1"))];
    }
    if (!evaluation_name_.empty()) ++(*expected)[AuditKey("evaluation.create", evaluation_name_)];
  }

 private:
  enum class Stage { kUpload, kImport, kImporting, kEvaluate, kEvaluating, kDone };

  absl::Status Advance(const absl::Status& status, Stage next) {
    if (status.ok()) stage_ = next;
    if (status.ok() || MayHaveHappened(status)) return status;
    return Finding(status.ToString());
  }

  absl::Status Change(const Send& send, Api* api, Stage next) {
    URSA_ASSIGN_OR_RETURN(const bool is_acknowledged, SendCounted(send, api));
    if (is_acknowledged) stage_ = next;
    return absl::OkStatus();
  }

  absl::Status WaitForImport(Api* api) {
    v1::GetImportRequest request;
    request.set_name(import_name_);
    const auto import = api->Call(api->datasets, &v1::DatasetService::Stub::GetImport, request);
    if (!import.ok()) return Advance(import.status(), stage_);
    if (import->state() == v1::Import::STATE_RUNNING) {
      LetPass(kPoll);
      return absl::OkStatus();
    }
    if (import->state() != v1::Import::STATE_COMPLETED) {
      stage_ = Stage::kDone;
      return IsGivenUp(import->reason()) ? absl::OkStatus()
                                         : Finding(absl::StrCat(import_name_, " ended with: ", import->reason()));
    }
    has_version_ = true;
    stage_ = model_.empty() ? Stage::kDone : Stage::kEvaluate;
    return CheckExamples(api);
  }

  absl::Status CheckExamples(Api* api) const {
    v1::ListExamplesRequest request;
    request.set_parent(absl::StrCat("datasets/", name(), "/versions/1"));
    URSA_ASSIGN_OR_RETURN(const std::vector<v1::Example> examples,
                          (api->Pages<v1::Example>(api->datasets, &v1::DatasetService::Stub::ListExamples, request,
                                                   &v1::ListExamplesResponse::mutable_examples)));
    if (examples.size() != static_cast<size_t>(source_.list.candidates_size())) {
      return Finding(absl::StrCat("has ", examples.size(), " examples"));
    }
    for (size_t i = 0; i < examples.size(); ++i) {
      const v1::Candidate& candidate = source_.list.candidates(static_cast<int>(i));
      if (examples[i].id() != candidate.hash() || examples[i].label() != candidate.label() ||
          examples[i].source() != candidate.source()) {
        return Finding(absl::StrCat("example ", i, " is not ", candidate.source()));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<v1::Evaluation> GetEvaluation(Api* api) const {
    v1::GetEvaluationRequest request;
    request.set_name(evaluation_name_);
    return api->Call(api->evaluations, &v1::EvaluationService::Stub::GetEvaluation, request);
  }

  absl::Status WaitForEvaluation(Api* api) {
    const absl::StatusOr<v1::Evaluation> evaluation = GetEvaluation(api);
    if (!evaluation.ok()) return Advance(evaluation.status(), stage_);
    if (evaluation->state() == v1::Evaluation::STATE_RUNNING) {
      LetPass(kPoll);
      return absl::OkStatus();
    }
    evaluation_ = *evaluation;
    stage_ = Stage::kDone;
    if (IsGivenUp(evaluation->reason())) return absl::OkStatus();
    int64_t num_counted = 0;
    for (const auto& row : evaluation->confusion()) {
      for (const int64_t count : row.counts()) num_counted += count;
    }
    if (evaluation->state() != v1::Evaluation::STATE_COMPLETED || num_counted != evaluation->num_examples() ||
        evaluation->new_predictions() != evaluation->num_examples() || num_counted == 0) {
      return Finding(absl::StrCat(evaluation_name_, " ended with ", num_counted, " of ", evaluation->num_examples(),
                                  " examples, ", evaluation->new_predictions(),
                                  " of them new: ", evaluation->reason()));
    }
    return absl::OkStatus();
  }

  const std::string model_;
  const Source source_;
  Send import_;
  Send evaluate_;
  Stage stage_ = Stage::kUpload;
  std::string import_name_;
  bool has_version_ = false;  // must be there
  std::string evaluation_name_;
  v1::Evaluation evaluation_;  // when it had ended
};

}  // namespace

std::unique_ptr<Subject> NewImportSubject(const std::string& model, Names* names, Rng* rng) {
  return std::make_unique<ImportSubject>(model, names, rng);
}

absl::StatusOr<std::string> ImportPictures(Api* api, int num_pictures, Names* names, Rng* rng) {
  const Source source(num_pictures, rng);
  URSA_RETURN_IF_ERROR(source.Upload(api));
  const std::string dataset = names->Next("lessons");
  v1::ImportDatasetRequest request = ImportRequest(dataset, source);
  request.set_request_id(names->Next("request"));
  using Stub = v1::DatasetService::Stub;
  URSA_ASSIGN_OR_RETURN(v1::Import import, api->Call(api->datasets, &Stub::ImportDataset, request));
  v1::GetImportRequest get;
  get.set_name(import.name());
  while (import.state() == v1::Import::STATE_RUNNING) {
    LetPass(kPoll);
    URSA_ASSIGN_OR_RETURN(import, api->Call(api->datasets, &Stub::GetImport, get));
  }
  if (import.state() != v1::Import::STATE_COMPLETED) return absl::InternalError(import.reason());
  return dataset;
}

}  // namespace ursa::crash
