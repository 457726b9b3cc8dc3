#include "experiments/resource_names.h"

#include <charconv>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr char kLatest[] = "latest";

absl::string_view View(std::string_view text) { return absl::string_view(text.data(), text.size()); }

// Names are quoted back at most this long: they are what a stranger sent.
std::string Quoted(std::string_view text) {
  constexpr size_t kShownMax = 128;
  return absl::StrCat("\"", absl::CEscape(View(text.substr(0, kShownMax))), text.size() > kShownMax ? "...\"" : "\"");
}

bool IsNameCharacter(char c, bool first) {
  if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return true;
  return !first && (c == '.' || c == '_' || c == '-');
}

// A decimal number >= 1 without sign or leading zeros.
std::optional<int64_t> ParseNumber(std::string_view text) {
  if (text.empty() || text[0] < '1' || text[0] > '9') return std::nullopt;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool TakePrefix(std::string_view prefix, std::string_view* text) {
  if (text->substr(0, prefix.size()) != prefix) return false;
  text->remove_prefix(prefix.size());
  return true;
}

absl::StatusOr<VersionRef> ParseReference(std::string_view noun, bool with_alias, std::string_view text) {
  VersionRef ref;
  const size_t mark = text.find_first_of("@:");
  ref.name = std::string(text.substr(0, mark));
  URSA_RETURN_IF_ERROR(CheckName(noun, ref.name));
  if (mark == std::string_view::npos) return ref;
  const std::string_view rest = text.substr(mark + 1);
  if (text[mark] == '@') {
    ref.version = ParseNumber(rest);
    if (!ref.version) {
      return absl::InvalidArgumentError(
          absl::StrCat(View(noun), " ", Quoted(text), ": version ", Quoted(rest), " is not a number from 1"));
    }
    return ref;
  }
  if (!with_alias) {
    return absl::InvalidArgumentError(
        absl::StrCat(View(noun), " ", Quoted(text), ": only models have aliases; expected NAME or NAME@VERSION"));
  }
  URSA_RETURN_IF_ERROR(CheckName("alias", rest));
  ref.alias = std::string(rest);
  return ref;
}

// Reads COLLECTION/NAME/versions/V and, with aliases, COLLECTION/NAME/aliases/ALIAS.
absl::StatusOr<VersionRef> ParseVersionName(std::string_view noun, std::string_view collection, bool with_alias,
                                            std::string_view text) {
  const absl::Status malformed = absl::InvalidArgumentError(absl::StrCat(
      "resource name ", Quoted(text), ": expected ", View(collection), "/NAME/versions/NUMBER, ", View(collection),
      "/NAME/versions/latest", with_alias ? absl::StrCat(" or ", View(collection), "/NAME/aliases/ALIAS") : ""));
  std::string_view rest = text;
  if (!TakePrefix(collection, &rest) || !TakePrefix("/", &rest)) return malformed;
  VersionRef ref;
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return malformed;
  ref.name = std::string(rest.substr(0, slash));
  rest.remove_prefix(slash);
  URSA_RETURN_IF_ERROR(CheckName(noun, ref.name));
  if (TakePrefix("/versions/", &rest)) {
    if (rest == kLatest) return ref;
    ref.version = ParseNumber(rest);
    if (!ref.version) return malformed;
    return ref;
  }
  if (!with_alias || !TakePrefix("/aliases/", &rest)) return malformed;
  URSA_RETURN_IF_ERROR(CheckName("alias", rest));
  ref.alias = std::string(rest);
  return ref;
}

std::string VersionName(std::string_view collection, const VersionRef& ref) {
  const std::string parent = absl::StrCat(View(collection), "/", ref.name);
  if (!ref.alias.empty()) return absl::StrCat(parent, "/aliases/", ref.alias);
  return ref.version ? absl::StrCat(parent, "/versions/", *ref.version) : absl::StrCat(parent, "/versions/", kLatest);
}

}  // namespace

absl::Status CheckName(std::string_view noun, std::string_view name) {
  constexpr char kRule[] = "allowed are 1 to 64 of a-z, 0-9, '.', '_', '-', starting with a letter or digit";
  const auto refuse = [&](const std::string& fact) {
    return absl::InvalidArgumentError(absl::StrCat(View(noun), " ", Quoted(name), ": ", fact, "; ", kRule));
  };
  if (name.empty()) return refuse("the name is empty");
  if (name.size() > kNameLengthMax) return refuse(absl::StrCat("the name has ", name.size(), " characters"));
  for (size_t i = 0; i < name.size(); ++i) {
    if (IsNameCharacter(name[i], i == 0)) continue;
    return refuse(absl::StrCat("the name has '", absl::CEscape(View(name.substr(i, 1))), "' at position ", i + 1));
  }
  return absl::OkStatus();
}

std::string VersionRef::ToString() const {
  if (!alias.empty()) return absl::StrCat(name, ":", alias);
  return version ? absl::StrCat(name, "@", *version) : name;
}

absl::StatusOr<VersionRef> ParseDatasetReference(std::string_view text) {
  return ParseReference("dataset", /*with_alias=*/false, text);
}

absl::StatusOr<VersionRef> ParseModelReference(std::string_view text) {
  return ParseReference("model", /*with_alias=*/true, text);
}

std::string DatasetVersionName(const VersionRef& ref) { return VersionName("datasets", ref); }

std::string ModelVersionName(const VersionRef& ref) { return VersionName("models", ref); }

absl::StatusOr<VersionRef> ParseDatasetVersionName(std::string_view resource_name) {
  return ParseVersionName("dataset", "datasets", /*with_alias=*/false, resource_name);
}

absl::StatusOr<VersionRef> ParseModelVersionName(std::string_view resource_name) {
  return ParseVersionName("model", "models", /*with_alias=*/true, resource_name);
}

std::string ModelName(std::string_view model) { return absl::StrCat("models/", View(model)); }

absl::StatusOr<std::string> ParseModelName(std::string_view resource_name) {
  std::string_view rest = resource_name;
  if (!TakePrefix("models/", &rest) || rest.find('/') != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("resource name ", Quoted(resource_name), ": expected models/NAME"));
  }
  URSA_RETURN_IF_ERROR(CheckName("model", rest));
  return std::string(rest);
}

std::string ModelGatesName(std::string_view model) { return absl::StrCat("models/", View(model), "/gates"); }

std::string IdName(std::string_view collection, char letter, int64_t number) {
  return absl::StrCat(View(collection), "/", std::string(1, letter), number);
}

absl::StatusOr<int64_t> ParseIdName(std::string_view collection, char letter, std::string_view text) {
  std::string_view rest = text;
  if (TakePrefix(collection, &rest) && !TakePrefix("/", &rest)) rest = "";
  if (!rest.empty() && rest[0] == letter) {
    if (const std::optional<int64_t> number = ParseNumber(rest.substr(1))) return *number;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("resource name ", Quoted(text), ": expected ", IdName(collection, letter, 1), " or the like"));
}

}  // namespace ursa
