#include "tests/crash/uploads.h"

#include <algorithm>
#include <cstring>

#include "base/digest.h"
#include "base/rng.h"

namespace ursa::crash {
namespace {

using Stub = v1::BlobService::Stub;
using Writer = grpc::ClientWriter<v1::UploadBlobsRequest>;

constexpr int kTriesMax = 5;
constexpr uint64_t kLargePieceBytes = uint64_t{300} << 10;  // several for each chunk of the store, none at its bounds

// Ends the stream and gives the call's status.
absl::Status Finish(Writer* writer) {
  writer->WritesDone();
  return FromGrpcStatus(writer->Finish());
}

absl::Status UploadFromOffset(Api* api, const Blob& blob) {
  v1::GetUploadOffsetRequest where;
  where.set_hash(blob.hash);
  const auto stands = api->Call(api->blobs, &Stub::GetUploadOffset, where);
  if (absl::IsAlreadyExists(stands.status())) return absl::OkStatus();
  URSA_RETURN_IF_ERROR(stands.status());
  const std::string bytes = blob.Bytes();
  const auto context = api->NewContext();
  v1::UploadBlobsResponse response;
  const auto writer = api->blobs.UploadBlobs(context.get(), &response);
  for (auto offset = static_cast<uint64_t>(stands->offset()); offset < blob.size; offset += kLargePieceBytes) {
    v1::UploadBlobsRequest request;
    if (offset == static_cast<uint64_t>(stands->offset())) {
      request.set_hash(blob.hash);
      request.set_size(static_cast<int64_t>(blob.size));
    }
    request.set_offset(static_cast<int64_t>(offset));
    request.set_data(bytes.substr(offset, kLargePieceBytes));
    if (!writer->Write(request)) break;
  }
  return Finish(writer.get());
}

}  // namespace

std::string Blob::Bytes() const {
  SeededRng rng(seed);
  std::string bytes(size, '\0');
  for (uint64_t i = 0; i < size; i += sizeof(uint64_t)) {
    const uint64_t word = rng.Next();
    std::memcpy(&bytes[i], &word, std::min<uint64_t>(sizeof(word), size - i));
  }
  return bytes;
}

Blob MakeBlob(uint64_t seed, uint64_t size) {
  Blob blob{seed, size, ""};
  blob.hash = Sha256Hex(blob.Bytes());
  return blob;
}

absl::Status UploadBytes(Api* api, const std::string& hash, const std::string& bytes) {
  const auto context = api->NewContext();
  v1::UploadBlobsResponse response;
  const auto writer = api->blobs.UploadBlobs(context.get(), &response);
  v1::UploadBlobsRequest request;
  request.set_hash(hash);
  request.set_size(static_cast<int64_t>(bytes.size()));
  request.set_data(bytes);
  writer->Write(request);
  return Finish(writer.get());
}

absl::Status UploadSmall(Api* api, const std::vector<Blob>& blobs) {
  const auto context = api->NewContext();
  v1::UploadBlobsResponse response;
  const auto writer = api->blobs.UploadBlobs(context.get(), &response);
  for (const Blob& blob : blobs) {
    v1::UploadBlobsRequest request;
    request.set_hash(blob.hash);
    request.set_size(static_cast<int64_t>(blob.size));
    request.set_data(blob.Bytes());
    if (!writer->Write(request)) break;
  }
  return Finish(writer.get());
}

absl::Status UploadLarge(Api* api, const Blob& blob) {
  // What is left of a call that was cut off may still be moving the place where the upload stands.
  absl::Status status;
  for (int i = 0; i < kTriesMax && (i == 0 || absl::IsOutOfRange(status)); ++i) status = UploadFromOffset(api, blob);
  return status;
}

absl::Status CutOffUpload(Api* api, const Blob& blob, uint64_t num_bytes) {
  const std::string bytes = blob.Bytes();
  const auto context = api->NewContext();
  v1::UploadBlobsResponse response;
  const auto writer = api->blobs.UploadBlobs(context.get(), &response);
  bool is_going = true;
  for (uint64_t offset = 0; is_going && offset + kLargePieceBytes < num_bytes; offset += kLargePieceBytes) {
    v1::UploadBlobsRequest request;
    if (offset == 0) {
      request.set_hash(blob.hash);
      request.set_size(static_cast<int64_t>(blob.size));
    }
    request.set_offset(static_cast<int64_t>(offset));
    request.set_data(bytes.substr(offset, kLargePieceBytes));
    is_going = writer->Write(request);
  }
  if (is_going) context->TryCancel();
  const absl::Status status = FromGrpcStatus(writer->Finish());
  return absl::IsCancelled(status) ? absl::OkStatus() : status;
}

absl::StatusOr<std::string> Download(Api* api, const std::string& hash) {
  const auto context = api->NewContext();
  v1::DownloadBlobRequest request;
  request.set_hash(hash);
  const auto reader = api->blobs.DownloadBlob(context.get(), request);
  std::string bytes;
  v1::DownloadBlobResponse piece;
  while (reader->Read(&piece)) bytes += piece.data();
  URSA_RETURN_IF_ERROR(FromGrpcStatus(reader->Finish()));
  return bytes;
}

}  // namespace ursa::crash
