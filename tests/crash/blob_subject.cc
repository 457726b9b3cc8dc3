#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "tests/crash/subjects.h"
#include "tests/crash/uploads.h"

namespace ursa::crash {
namespace {

enum class Kind { kFewSmall, kLarge, kBulk, kWrongHash, kCut };

class BlobSubject : public Subject {
 public:
  BlobSubject(Kind kind, Names* names, Rng* rng) : Subject(names->Next("upload")), kind_(kind) {
    const auto add = [this, rng](uint64_t size_min, uint64_t size_max) {
      blobs_.push_back(MakeBlob(rng->Next(), size_min + rng->Below(size_max - size_min)));
    };
    switch (kind_) {
      case Kind::kFewSmall:
        for (uint64_t i = 1 + rng->Below(5); i > 0; --i) add(1, 1 << 16);
        break;
      case Kind::kBulk:  // more than BlobStore puts through its log
        for (int i = 0; i < 6; ++i) add(800'000, kPieceBytesMax);
        break;
      case Kind::kLarge:
      case Kind::kWrongHash:
      case Kind::kCut:
        add(kPieceBytesMax + 1, 4 * kPieceBytesMax);
    }
    if (kind_ == Kind::kWrongHash) blobs_[0].hash = Sha256Hex(name());
  }

  absl::Status Step(Api* api, Rng* rng) override {
    is_unknown_ = true;
    const bool is_to_be_cut = kind_ == Kind::kCut && !was_cut_;
    absl::Status status;
    if (is_to_be_cut) {
      was_cut_ = true;
      status = CutOffUpload(api, blobs_[0], rng->Below(blobs_[0].size));
      if (status.ok()) status = ExpectVisible(api, 0, 0);
    } else if (blobs_.size() == 1 && blobs_[0].size > kPieceBytesMax) {
      status = UploadLarge(api, blobs_[0]);
    } else {
      status = UploadSmall(api, blobs_);
    }
    if (MayHaveHappened(status)) {
      ++tally_.num_unknown;
      return status;
    }
    is_unknown_ = false;
    if (is_to_be_cut) return status;
    if (kind_ == Kind::kWrongHash) {
      is_settled_ = true;
      return absl::IsDataLoss(status) ? ExpectVisible(api, 0, 0)
                                      : Finding(absl::StrCat("a wrong hash was taken: ", status.ToString()));
    }
    if (!status.ok()) return Finding(status.ToString());
    ++tally_.num_acknowledged;
    is_settled_ = is_done_ = true;
    return absl::OkStatus();
  }

  absl::Status Check(Api* api, Rng* rng) override {
    if (kind_ == Kind::kWrongHash || (!is_settled_ && !is_unknown_)) {
      is_unknown_ = false;
      return ExpectVisible(api, 0, 0);
    }
    if (is_done_) {
      URSA_RETURN_IF_ERROR(ExpectVisible(api, blobs_.size(), blobs_.size()));
      return was_read_ && rng->Below(20) != 0 ? absl::OkStatus() : ReadAll(api);
    }
    // Those of one call become visible at once.
    URSA_ASSIGN_OR_RETURN(const size_t num_visible, NumVisible(api));
    if (num_visible != 0 && num_visible != blobs_.size()) {
      return Finding(absl::StrCat(num_visible, " of ", blobs_.size(), " blobs of one call are visible"));
    }
    is_unknown_ = false;
    ++(num_visible > 0 ? tally_.num_found_done : tally_.num_found_undone);
    if (num_visible == 0) return absl::OkStatus();  // the next step sends them again
    is_settled_ = is_done_ = true;
    return ReadAll(api);
  }

  bool IsDone() const override { return is_settled_; }

 private:
  absl::StatusOr<size_t> NumVisible(Api* api) const {
    v1::FindMissingBlobsRequest request;
    std::set<std::string> hashes;
    for (const Blob& blob : blobs_) hashes.insert(blob.hash);
    for (const std::string& hash : hashes) request.add_hashes(hash);
    URSA_ASSIGN_OR_RETURN(const v1::FindMissingBlobsResponse response,
                          api->Call(api->blobs, &v1::BlobService::Stub::FindMissingBlobs, request));
    return hashes.size() - static_cast<size_t>(response.missing_size());
  }

  absl::Status ExpectVisible(Api* api, size_t num_min, size_t num_max) const {
    URSA_ASSIGN_OR_RETURN(const size_t num_visible, NumVisible(api));
    if (num_visible >= num_min && num_visible <= num_max) return absl::OkStatus();
    return Finding(absl::StrCat(num_visible, " of ", blobs_.size(), " blobs are visible, must be ", num_min));
  }

  absl::Status ReadAll(Api* api) {
    for (const Blob& blob : blobs_) {
      const absl::StatusOr<std::string> bytes = Download(api, blob.hash);
      if (MayHaveHappened(bytes.status())) return bytes.status();
      if (!bytes.ok() || *bytes != blob.Bytes()) {
        return Finding(absl::StrCat("blob ", blob.hash, " cannot be read as it was sent: ", bytes.status().ToString()));
      }
    }
    was_read_ = true;
    return absl::OkStatus();
  }

  const Kind kind_;
  std::vector<Blob> blobs_;
  bool was_cut_ = false;
  bool is_unknown_ = false;  // sent, not answered
  bool is_settled_ = false;  // nothing more is to be sent
  bool is_done_ = false;     // all are there
  bool was_read_ = false;
};

}  // namespace

std::unique_ptr<Subject> NewBlobSubject(Names* names, Rng* rng) {
  const uint64_t choice = rng->Below(10);
  const Kind kind = choice < 4   ? Kind::kFewSmall
                    : choice < 6 ? Kind::kLarge
                    : choice < 7 ? Kind::kBulk
                    : choice < 8 ? Kind::kWrongHash
                                 : Kind::kCut;
  return std::make_unique<BlobSubject>(kind, names, rng);
}

}  // namespace ursa::crash
