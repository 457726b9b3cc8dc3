// Looking at dataset versions and their examples.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/core/imports.h"
#include "coordinator/core/paging.h"
#include "experiments/resource_names.h"
#include "experiments/splitters.h"

namespace ursa {
namespace {

constexpr int kListPageSizeDefault = 100;
constexpr int kListPageSizeMax = 1000;
constexpr int kExamplesPageSizeDefault = 1000;
constexpr int kExamplesPageSizeMax = 10'000;

absl::StatusOr<v1::ListExamplesResponse> PageOfExamples(const v1::Manifest& manifest,
                                                        const v1::ListExamplesRequest& request, int page_size,
                                                        int64_t after, int64_t page_bytes_max) {
  if (!request.split().empty() && !IsSplitName(request.split())) {
    return absl::InvalidArgumentError(
        absl::StrCat("split \"", request.split(), "\": is not known (train, valid, test)"));
  }
  v1::ListExamplesResponse response;
  int64_t num_bytes = 0;
  bool label_is_known = request.label().empty();
  for (const v1::Example& example : manifest.examples()) label_is_known |= example.label() == request.label();
  if (!label_is_known) {
    return absl::InvalidArgumentError(
        absl::StrCat("label \"", request.label(), "\": no example of ", request.parent(), " has it"));
  }
  for (int64_t i = after; i < manifest.examples_size(); ++i) {
    const v1::Example& example = manifest.examples(static_cast<int>(i));
    if ((!request.split().empty() && example.split() != request.split()) ||
        (!request.label().empty() && example.label() != request.label())) {
      continue;
    }
    if (response.examples_size() == page_size || num_bytes > page_bytes_max) {
      response.set_next_page_token(std::to_string(i));
      break;
    }
    *response.add_examples() = example;
    num_bytes += static_cast<int64_t>(example.ByteSizeLong());
  }
  return response;
}

}  // namespace

absl::StatusOr<const records::DatasetVersionRecord*> Imports::FindVersion(const Tx& tx, const std::string& name) {
  URSA_ASSIGN_OR_RETURN(const VersionRef ref, ParseDatasetVersionName(name));
  const auto* record = ref.version
                           ? tx.state().Find<records::DatasetVersionRecord>(NamedNumberKey(ref.name, *ref.version))
                           : tx.state().FindLatestVersion<records::DatasetVersionRecord>(ref.name);
  if (record == nullptr) return absl::NotFoundError(absl::StrCat("dataset \"", ref.ToString(), "\": not found"));
  return record;
}

absl::StatusOr<v1::ListDatasetVersionsResponse> Imports::List(const Tx& tx,
                                                              const v1::ListDatasetVersionsRequest& request) const {
  URSA_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size(), kListPageSizeDefault, kListPageSizeMax));
  // The token is the name of the last one given; by name, newest first within one.
  const auto& versions = tx.state().All<records::DatasetVersionRecord>();
  auto name = versions.begin();
  int64_t below = INT64_MAX;
  if (!request.page_token().empty()) {
    const auto ref = ParseDatasetVersionName(request.page_token());
    if (!ref.ok() || !ref->version) return BadPageToken(request.page_token());
    name = versions.lower_bound({ref->name, 0});
    below = name != versions.end() && name->first.first == ref->name ? *ref->version : INT64_MAX;
  }
  v1::ListDatasetVersionsResponse response;
  int64_t num_bytes = 0;
  while (name != versions.end()) {
    const std::string dataset = name->first.first;
    auto it = versions.lower_bound({dataset, below});
    while (it != versions.begin() && std::prev(it)->first.first == dataset) {
      --it;
      if (response.versions_size() == page_size || num_bytes > env_.options.page_bytes_max) {
        response.set_next_page_token(response.versions(response.versions_size() - 1).name());
        return response;
      }
      *response.add_versions() = it->second.version();
      num_bytes += static_cast<int64_t>(it->second.version().ByteSizeLong());
    }
    below = INT64_MAX;
    name = versions.upper_bound({dataset, INT64_MAX});
  }
  return response;
}

void Imports::ListExamples(const v1::ListExamplesRequest& request, Done<v1::ListExamplesResponse> done) {
  ReadStateThen<std::string>(
      env_,
      [&request](const Tx& tx) -> absl::StatusOr<std::string> {
        URSA_ASSIGN_OR_RETURN(const records::DatasetVersionRecord* record, FindVersion(tx, request.parent()));
        return record->manifest_blob();
      },
      [this, request, done = std::move(done)](const absl::StatusOr<std::string>& blob) {
        done([&]() -> absl::StatusOr<v1::ListExamplesResponse> {
          URSA_RETURN_IF_ERROR(blob.status());
          URSA_ASSIGN_OR_RETURN(const int page_size,
                                PageSize(request.page_size(), kExamplesPageSizeDefault, kExamplesPageSizeMax));
          URSA_ASSIGN_OR_RETURN(const int64_t after, NumberToken(request.page_token()));
          URSA_ASSIGN_OR_RETURN(const v1::Manifest manifest, ReadManifest(env_, *blob));
          return PageOfExamples(manifest, request, page_size, after, env_.options.page_bytes_max);
        }());
      });
}

}  // namespace ursa
