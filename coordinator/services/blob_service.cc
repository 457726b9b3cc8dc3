#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/failpoint.h"
#include "base/status_macros.h"
#include "coordinator/core/coordinator.h"
#include "coordinator/services/grpc_call_support.h"
#include "coordinator/services/grpc_pull_stream.h"
#include "coordinator/services/services.h"
#include "storage/blob_store.h"
#include "storage/blob_stream.h"
#include "ursa/v1/blobs.grpc.pb.h"

namespace ursa {
namespace {

Failpoint piece_received("coordinator.upload.piece_received");
Failpoint large_stored("coordinator.upload.large_stored");  // visible, the call goes on
Failpoint batch_stored("coordinator.upload.batch_stored");

constexpr int kHashesMax = 10'000;
constexpr size_t kPieceBytesMax = size_t{1} << 20;
constexpr size_t kBatchBytes = size_t{16} << 20;

// What one upload stream brings: blobs of one piece are gathered and stored together, larger ones go through a writer.
// Not thread-safe.
class Upload {
 public:
  Upload(BlobStore* blobs, const CoordinatorOptions* options) : blobs_(*blobs), options_(*options) {}

  absl::Status Add(v1::UploadBlobsRequest piece) {
    if (piece.data().size() > kPieceBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("upload: a piece has ", piece.data().size(), " bytes, at most ",
                                                     kPieceBytesMax, " are allowed"));
    }
    if (!piece.hash().empty()) URSA_RETURN_IF_ERROR(Begin(piece));
    if (is_small_) {
      is_small_ = false;
      batch_bytes_ += piece.data().size();
      batch_.push_back({piece.hash(), std::move(*piece.mutable_data())});
      return batch_bytes_ >= kBatchBytes ? StoreBatch() : absl::OkStatus();
    }
    if (is_there_) return absl::OkStatus();
    if (writer_ == nullptr) return absl::InvalidArgumentError("upload: the first piece names no blob");
    if (piece.offset() != static_cast<int64_t>(writer_->offset())) {
      return absl::OutOfRangeError(absl::StrCat("blob ", writer_->hash(), ": piece at offset ", piece.offset(),
                                                ", the upload stands at ", writer_->offset()));
    }
    URSA_RETURN_IF_ERROR(writer_->Append(writer_->offset(), piece.data()));
    if (writer_->offset() < writer_->size_bytes()) return absl::OkStatus();
    URSA_RETURN_IF_ERROR(writer_->Commit());
    large_stored.Pass();
    response_.set_num_blobs(response_.num_blobs() + 1);
    response_.set_bytes_stored(response_.bytes_stored() + static_cast<int64_t>(writer_->size_bytes()));
    writer_ = nullptr;
    is_there_ = true;  // nothing more may come of it
    return absl::OkStatus();
  }

  // Whether all that has come is stored.
  bool is_at_rest() const { return batch_.empty() && writer_ == nullptr; }

  absl::StatusOr<v1::UploadBlobsResponse> Finish() {
    URSA_RETURN_IF_ERROR(StoreBatch());
    if (writer_ != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("blob ", writer_->hash(), ": the upload ended at offset ",
                                                     writer_->offset(), " of ", writer_->size_bytes()));
    }
    return response_;
  }

 private:
  absl::Status Begin(const v1::UploadBlobsRequest& piece) {
    if (writer_ != nullptr) return Finish().status();
    is_there_ = false;
    if (!IsDigestHex(piece.hash())) return absl::InvalidArgumentError("upload: hash is not 64 lower-case hex digits");
    if (piece.size() < 0) {
      return absl::InvalidArgumentError(absl::StrCat("blob ", piece.hash(), ": size ", piece.size(), " is negative"));
    }
    URSA_RETURN_IF_ERROR(CheckDiskSpace(options_));
    is_small_ = piece.offset() == 0 && static_cast<size_t>(piece.size()) == piece.data().size();
    if (is_small_) return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<BlobWriter>> writer =
        blobs_.OpenWriter(piece.hash(), static_cast<uint64_t>(piece.size()));
    if (absl::IsAlreadyExists(writer.status())) {
      is_there_ = true;
      response_.set_num_blobs(response_.num_blobs() + 1);
      return absl::OkStatus();
    }
    URSA_RETURN_IF_ERROR(writer.status());
    writer_ = *std::move(writer);
    return absl::OkStatus();
  }

  absl::Status StoreBatch() {
    if (batch_.empty()) return absl::OkStatus();
    std::vector<std::string> hashes;
    for (const BlobStore::Blob& blob : batch_) hashes.push_back(blob.hash);
    URSA_ASSIGN_OR_RETURN(const std::vector<std::string> missing, blobs_.FindMissing(hashes));
    URSA_RETURN_IF_ERROR(blobs_.PutMany(batch_));
    batch_stored.Pass();
    const std::set<std::string> is_new(missing.begin(), missing.end());
    for (const BlobStore::Blob& blob : batch_) {
      response_.set_num_blobs(response_.num_blobs() + 1);
      if (is_new.count(blob.hash)) {
        response_.set_bytes_stored(response_.bytes_stored() + static_cast<int64_t>(blob.bytes.size()));
      }
    }
    batch_.clear();
    batch_bytes_ = 0;
    return absl::OkStatus();
  }

  BlobStore& blobs_;
  const CoordinatorOptions& options_;
  std::unique_ptr<BlobWriter> writer_;  // of the large blob that is under way
  bool is_small_ = false;               // the piece at hand is a whole blob
  bool is_there_ = false;               // pieces of a blob that is complete are passed over
  std::vector<BlobStore::Blob> batch_;
  size_t batch_bytes_ = 0;
  v1::UploadBlobsResponse response_;
};

// Reads a piece, stores it away from gRPC's threads, reads the next: at most one operation at a time.
class UploadReactor : public grpc::ServerReadReactor<v1::UploadBlobsRequest> {
 public:
  UploadReactor(Coordinator* coordinator, Executor* executor, v1::UploadBlobsResponse* response)
      : coordinator_(*coordinator),
        executor_(*executor),
        response_(*response),
        upload_(coordinator->env().blobs, &coordinator->env().options) {
    StartRead(&piece_);
  }

  void OnReadDone(bool ok) override {
    executor_.Run([this, ok] {
      if (ok) return Take();
      absl::StatusOr<v1::UploadBlobsResponse> result = upload_.Finish();
      if (result.ok()) response_ = *std::move(result);
      Finish(ToGrpcStatus(result.status()));
    });
  }

  void OnDone() override { delete this; }

 private:
  void Take() {
    // What is being deleted just now is stored when that is over; what is stored stays long enough to be named.
    if (!piece_.hash().empty()) {
      auto hold = coordinator_.janitor().TryHold({piece_.hash()}, [this] { executor_.Run([this] { Take(); }); });
      if (hold == nullptr) return;
      holds_.push_back(std::move(hold));
    }
    piece_received.Pass();
    const absl::Status status = upload_.Add(std::move(piece_));
    if (upload_.is_at_rest()) holds_.clear();
    if (!status.ok()) return Finish(ToGrpcStatus(status));
    piece_.Clear();
    StartRead(&piece_);
  }

  Coordinator& coordinator_;
  Executor& executor_;
  v1::UploadBlobsResponse& response_;
  Upload upload_;
  v1::UploadBlobsRequest piece_;
  std::vector<std::unique_ptr<BlobJanitor::Hold>> holds_;  // of what has come and is not yet stored
};

class BlobService : public v1::BlobService::CallbackService {
 public:
  BlobService(Coordinator* coordinator, Executor* executor)
      : coordinator_(*coordinator), blobs_(*coordinator->env().blobs), executor_(*executor) {}

  grpc::ServerUnaryReactor* FindMissingBlobs(grpc::CallbackServerContext* context,
                                             const v1::FindMissingBlobsRequest* request,
                                             v1::FindMissingBlobsResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    executor_.Run([this, request, done = Answer(reactor, response)] { done(FindMissing(*request)); });
    return reactor;
  }

  grpc::ServerUnaryReactor* GetUploadOffset(grpc::CallbackServerContext* context,
                                            const v1::GetUploadOffsetRequest* request,
                                            v1::GetUploadOffsetResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    executor_.Run([this, request, done = Answer(reactor, response)] { done(UploadOffset(*request)); });
    return reactor;
  }

  grpc::ServerReadReactor<v1::UploadBlobsRequest>* UploadBlobs(grpc::CallbackServerContext*,
                                                               v1::UploadBlobsResponse* response) override {
    return new UploadReactor(&coordinator_, &executor_, response);
  }

  grpc::ServerWriteReactor<v1::DownloadBlobResponse>* DownloadBlob(grpc::CallbackServerContext*,
                                                                   const v1::DownloadBlobRequest* request) override {
    using Stream = PullStream<v1::DownloadBlobResponse>;
    auto reader = std::make_shared<std::unique_ptr<BlobReader>>();
    const auto stream = Stream::Make(
        [this, asked = *request, reader](std::function<void(Stream::Pulled)> pulled) {
          executor_.Run([this, asked, reader, pulled = std::move(pulled)] {
            absl::StatusOr<std::optional<v1::DownloadBlobResponse>> next = NextPiece(asked, reader.get());
            if (!next.ok()) return pulled({std::nullopt, next.status()});
            if (!next->has_value()) return pulled({std::nullopt, absl::OkStatus()});
            pulled({**std::move(next), std::nullopt});
          });
        },
        nullptr);
    stream->Signal();
    return stream.get();
  }

 private:
  absl::StatusOr<v1::FindMissingBlobsResponse> FindMissing(const v1::FindMissingBlobsRequest& request) {
    if (request.hashes_size() > kHashesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("hashes: ", request.hashes_size(), " were asked, at most ", kHashesMax, " are allowed"));
    }
    const std::vector<std::string> hashes(request.hashes().begin(), request.hashes().end());
    std::vector<std::string> deleting;
    {
      Tx tx(coordinator_.env().commit);
      coordinator_.janitor().Touch(tx, hashes);
      for (const std::string& hash : hashes) {
        if (coordinator_.janitor().IsDeleting(hash)) deleting.push_back(hash);
      }
    }
    URSA_ASSIGN_OR_RETURN(const std::vector<std::string> missing, blobs_.FindMissing(hashes));
    std::set<std::string> all(missing.begin(), missing.end());
    all.insert(deleting.begin(), deleting.end());
    v1::FindMissingBlobsResponse response;
    for (const std::string& hash : hashes) {
      if (all.erase(hash)) response.add_missing(hash);
    }
    return response;
  }

  absl::StatusOr<v1::GetUploadOffsetResponse> UploadOffset(const v1::GetUploadOffsetRequest& request) {
    if (blobs_.Stat(request.hash()).ok()) {
      return absl::AlreadyExistsError(absl::StrCat("blob ", request.hash(), ": is complete"));
    }
    URSA_ASSIGN_OR_RETURN(const uint64_t offset, blobs_.ResumeOffset(request.hash()));
    v1::GetUploadOffsetResponse response;
    response.set_offset(static_cast<int64_t>(offset));
    return response;
  }

  // The next bytes; nothing after the last ones. An empty blob has one empty piece, which tells its size.
  absl::StatusOr<std::optional<v1::DownloadBlobResponse>> NextPiece(const v1::DownloadBlobRequest& request,
                                                                    std::unique_ptr<BlobReader>* reader) {
    v1::DownloadBlobResponse response;
    const bool is_first = *reader == nullptr;
    if (is_first) {
      if (request.offset() < 0) {
        return absl::OutOfRangeError(absl::StrCat("offset: ", request.offset(), " is negative"));
      }
      URSA_ASSIGN_OR_RETURN(*reader, blobs_.OpenReader(request.hash(), static_cast<uint64_t>(request.offset())));
      response.set_size(static_cast<int64_t>((*reader)->size_bytes()));
    }
    URSA_ASSIGN_OR_RETURN(*response.mutable_data(), (*reader)->Next());
    if (response.data().empty() && !is_first) return std::nullopt;
    return response;
  }

  Coordinator& coordinator_;
  BlobStore& blobs_;
  Executor& executor_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeBlobService(Coordinator* coordinator, Executor* blob_executor) {
  return std::make_unique<BlobService>(coordinator, blob_executor);
}

}  // namespace ursa
