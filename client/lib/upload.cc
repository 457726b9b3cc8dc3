// Uploads: many blobs over one stream, going on where the server stands when it breaks.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <unordered_set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "client/lib/client.h"
#include "client/lib/rpc.h"

namespace ursa {
namespace {

constexpr int64_t kPieceBytesMax = 1 << 20;  // BlobService's limit

// Gives the bytes of one blob, piece by piece.
class BlobReader {
 public:
  explicit BlobReader(const BlobSource& blob) : blob_(blob) {}
  ~BlobReader() {
    if (fd_ >= 0) ::close(fd_);
  }
  BlobReader(const BlobReader&) = delete;
  BlobReader& operator=(const BlobReader&) = delete;

  absl::Status Open() {
    if (blob_.path.empty()) return absl::OkStatus();
    fd_ = ::open(blob_.path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) return ErrnoStatus(errno, absl::StrCat("file \"", blob_.path, "\": cannot open"));
    return absl::OkStatus();
  }

  // The `size` bytes from `offset`. Errors: DATA_LOSS when the file has become shorter.
  absl::Status Read(int64_t offset, int64_t size, std::string* piece) {
    if (blob_.path.empty()) {
      *piece = blob_.bytes.substr(offset, size);
      return absl::OkStatus();
    }
    piece->resize(size);
    for (int64_t done = 0; done < size;) {
      const ssize_t got = ::pread(fd_, piece->data() + done, size - done, offset + done);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoStatus(errno, absl::StrCat("file \"", blob_.path, "\": cannot read"));
      if (got == 0)
        return absl::DataLossError(absl::StrCat("file \"", blob_.path, "\": has become shorter while it was read, had ",
                                                blob_.size, " bytes, has ", offset + done));
      done += got;
    }
    return absl::OkStatus();
  }

 private:
  const BlobSource& blob_;
  int fd_ = -1;
};

// The blobs of one UploadBlobs call, and what is still to be sent of them.
class Upload {
 public:
  Upload(const std::vector<BlobSource>& blobs, const std::function<void(const UploadProgress&)>& on_progress)
      : on_progress_(on_progress) {
    for (const BlobSource& blob : blobs) {
      pending_.push_back(&blob);
      progress_.bytes_total += blob.size;
    }
  }

  const std::vector<const BlobSource*>& pending() const { return pending_; }
  int64_t bytes_done() const { return progress_.bytes_done; }

  // Counts bytes that the server has.
  void Done(int64_t bytes) {
    progress_.bytes_done += bytes;
    if (on_progress_) on_progress_(progress_);
  }

  // Writes a blob from `offset` on. False when the stream is broken. Errors: of reading the file.
  absl::StatusOr<bool> Send(const BlobSource& blob, int64_t offset,
                            grpc::ClientWriter<v1::UploadBlobsRequest>* writer) {
    BlobReader reader(blob);
    URSA_RETURN_IF_ERROR(reader.Open());
    v1::UploadBlobsRequest request;
    request.set_hash(blob.hash);
    request.set_size(blob.size);
    do {
      const int64_t size = std::min(kPieceBytesMax, blob.size - offset);
      request.set_offset(offset);
      URSA_RETURN_IF_ERROR(reader.Read(offset, size, request.mutable_data()));
      grpc::WriteOptions options;
      if (size < kPieceBytesMax) options.set_buffer_hint();  // many small blobs share a packet
      if (!writer->Write(request, options)) return false;
      offset += size;
      Done(size);
      request.Clear();  // hash and size start a blob
    } while (offset < blob.size);
    return true;
  }

  // Keeps only the blobs that the server lacks.
  void KeepOnly(const std::vector<std::string>& missing) {
    const std::unordered_set<std::string> wanted(missing.begin(), missing.end());
    pending_.erase(std::remove_if(pending_.begin(), pending_.end(),
                                  [&](const BlobSource* blob) { return wanted.count(blob->hash) == 0; }),
                   pending_.end());
    progress_.bytes_done = progress_.bytes_total;
    for (const BlobSource* blob : pending_) progress_.bytes_done -= blob->size;
  }

  // The server names a blob by its hash; people know it by its file.
  absl::Status Explain(const absl::Status& status) const {
    for (const BlobSource* blob : pending_) {
      if (!blob->path.empty() && absl::StrContains(status.message(), blob->hash))
        return absl::Status(status.code(), absl::StrCat("file \"", blob->path, "\": ", status.message(),
                                                        " (hint: do files change while they are read?)"));
    }
    return status;
  }

 private:
  const std::function<void(const UploadProgress&)>& on_progress_;
  std::vector<const BlobSource*> pending_;  // of the caller's list
  UploadProgress progress_;
};

}  // namespace

absl::StatusOr<int64_t> Client::UploadOffset(const std::string& hash, int64_t size) {
  if (size <= kPieceBytesMax) return 0;  // one piece: it came whole or not at all
  v1::GetUploadOffsetRequest request;
  request.set_hash(hash);
  const auto stands = rpc_->Call(rpc_->blobs, &v1::BlobService::Stub::GetUploadOffset, request);
  if (absl::IsAlreadyExists(stands.status())) return size;
  if (!stands.ok()) return stands.status();
  return std::clamp<int64_t>(stands->offset(), 0, size);
}

absl::Status Client::UploadBlobs(const std::vector<BlobSource>& blobs,
                                 const std::function<void(const UploadProgress&)>& on_progress) {
  Upload upload(blobs, on_progress);
  Patience tries = rpc_->NewPatience(rpc_->options.watch_patience);
  while (!upload.pending().empty()) {
    const int64_t done_before = upload.bytes_done();
    const auto context = rpc_->NewContext(/*is_stream=*/true);
    v1::UploadBlobsResponse response;
    const auto writer = rpc_->blobs.UploadBlobs(context.get(), &response);
    for (const BlobSource* blob : upload.pending()) {
      const absl::StatusOr<int64_t> offset = UploadOffset(blob->hash, blob->size);
      const bool is_there = offset.ok() && *offset == blob->size && blob->size > 0;
      if (offset.ok()) upload.Done(*offset);
      if (is_there) continue;
      const absl::StatusOr<bool> taken =
          offset.ok() ? upload.Send(*blob, *offset, writer.get()) : absl::StatusOr<bool>(offset.status());
      if (!taken.ok()) {
        context->TryCancel();
        writer->Finish();
        return taken.status();
      }
      if (!*taken) break;
    }
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    if (status.ok()) return absl::OkStatus();
    if (!IsServerGone(status)) return upload.Explain(rpc_->ToStatus(status));
    if (upload.bytes_done() > done_before) tries.Succeeded();
    if (!rpc_->WaitForNextTry(&tries)) return rpc_->ToStatus(status);
    // Which blobs became visible before the stream broke is the server's to say.
    std::vector<std::string> hashes;
    for (const BlobSource* blob : upload.pending()) hashes.push_back(blob->hash);
    URSA_ASSIGN_OR_RETURN(const std::vector<std::string> missing, FindMissingBlobs(hashes));
    upload.KeepOnly(missing);
  }
  return absl::OkStatus();
}

}  // namespace ursa
