// Lists and watches of the registry.
#include <fmt/format.h>

#include "api/meta_v1.h"
#include "apiserver/registry.h"
#include "async/scoped_timer.h"
#include "base/strings.h"
#include "codec/codec.h"
#include "codec/value.h"

namespace knarr::apiserver {
namespace {

// Sent about once a minute to every watcher that asked for bookmarks. Source: cacher, bookmarkFrequency.
constexpr env::Duration kBookmarkPeriod = std::chrono::seconds(60);
constexpr size_t kWatchBatch = 500;
// A watch with a deadline gets its last bookmark this long before it. Source: cacheWatcher.nextBookmarkTime.
constexpr env::Duration kBookmarkBeforeEnd = std::chrono::seconds(2);
constexpr std::string_view kContinueVersion = "meta.k8s.io/v1";
constexpr int64_t kNewestRevision = -1;  // of a token: no snapshot any more

struct ContinueToken {
  int64_t revision = 0;
  std::string start;  // the first key of the next page, after the list's prefix
};

// Source: k8s.io/apiserver/pkg/storage/continue.go.
std::string encodeContinue(const ContinueToken& token) {
  return base64UrlEncode(
      fmt::format("{{\"v\":\"{}\",\"rv\":{},\"start\":{}}}", kContinueVersion, token.revision, codec::quoteJson(token.start)));
}

// Where Go's decoder stops: the first character outside the alphabet, or a last one that stands alone.
size_t base64ErrorAt(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    bool known = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!known) return i;
  }
  return text.empty() ? 0 : text.size() - 1;
}

Result<ContinueToken> decodeContinue(const std::string& text) {
  auto bad = [](std::string_view why) {
    return fail(Reason::BadRequest, fmt::format("invalid continue token: continue key is not valid: {}", why));
  };
  auto json = base64UrlDecode(text);
  if (!json) return bad(fmt::format("illegal base64 data at input byte {}", base64ErrorAt(text)));
  Arena arena;
  auto parsed = codec::parseJsonValue(*json, arena);
  if (!parsed) return bad("unexpected end of JSON input");
  const codec::Value* version = parsed->find("v");
  const codec::Value* revisionValue = parsed->find("rv");
  const codec::Value* startValue = parsed->find("start");
  if (!version || version->stringOr() != kContinueVersion)
    return bad(fmt::format("server does not recognize this encoded version {}", version ? version->stringOr() : ""));
  int64_t revision = revisionValue && revisionValue->isInt() ? revisionValue->integer() : 0;
  if (revision == 0) return bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
  std::string_view start = startValue ? startValue->stringOr() : std::string_view();
  if (start.empty()) return bad("encoded start key empty (version meta.k8s.io/v1)");
  if (("/" + std::string(start)).find("/../") != std::string::npos) return bad(start);
  return ContinueToken{revision, std::string(start)};
}

// The answer carries a token that goes on from the same key at whatever revision is then newest.
// Source: storage/etcd3/errors.go, handleCompactedErrorForPaging.
Error tooOldContinue(const std::string& startKey) {
  Error error(Reason::Expired,
              "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
              "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
              "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
              "deleted between the time the first chunk was returned and now may show up in the list.");
  ErrorDetails details;
  details.continueToken = encodeContinue({kNewestRevision, startKey});
  return std::move(error).withDetails(std::move(details));
}

// Of a watch, and of a get: text that is no number is no BadRequest there. Source: the 500 of an error that is no Status.
Result<int64_t> parseWatchRevision(const std::string& text) {
  auto revision = parseUint(text);
  if (!revision)
    return Unexpected(
        Error(Reason::Unknown, fmt::format("resourceVersion: Invalid value: {}: strconv.ParseUint: parsing {}: invalid syntax",
                                           quote(text), quote(text))));
  return static_cast<int64_t>(*revision);
}

}  // namespace

namespace {

// Pages through the cache in key order.
ListResult pageFromCache(const ServedResource& resource, const Selection& selection, const std::string& startKey, int64_t limit) {
  ListResult result;
  const auto& objects = resource.cache->objects();
  std::string prefix = selection.nameSpace.empty() || !resource.info->namespaced ? "" : selection.nameSpace + "/";
  auto at = objects.lower_bound(prefix + startKey);
  for (; at != objects.end() && at->first.starts_with(prefix); ++at) {
    if (limit > 0 && static_cast<int64_t>(result.items.size()) == limit) {
      result.continueToken = std::prev(at)->first.substr(prefix.size()) + '\0';
      break;
    }
    if (selection.matches(at->second)) result.items.push_back(at->second);
  }
  result.revision = resource.cache->revision();
  if (result.continueToken.empty() || !selection.selectsAll()) return result;
  int64_t rest = 0;
  for (; at != objects.end() && at->first.starts_with(prefix); ++at) ++rest;
  result.remainingItemCount = rest;
  return result;
}

Result<int64_t> parseRevision(const std::string& text) {
  auto revision = parseUint(text);
  if (!revision)
    return fail(Reason::BadRequest,
                fmt::format("invalid resource version: resourceVersion: Invalid value: {}: strconv.ParseUint: "
                            "parsing {}: invalid syntax",
                            quote(text), quote(text)));
  return static_cast<int64_t>(*revision);
}

}  // namespace

Task<Result<ListResult>> Registry::list(const ServedResource& resource, Selection selection, client::ListOptions options) {
  std::string start;
  int64_t limit = std::max<int64_t>(options.limit, 0);
  int64_t exact = 0;
  if (!options.continueToken.empty()) {
    if (!options.resourceVersion.empty() && options.resourceVersion != "0")
      co_return fail(Reason::BadRequest, "specifying resource version is not allowed when using continue");
    ContinueToken token = CO_TRY(decodeContinue(options.continueToken));
    start = token.start;
    exact = std::max<int64_t>(token.revision, 0);
    CO_TRY(co_await hub_.waitFresh());
  } else if (options.resourceVersion.empty()) {
    CO_TRY(co_await hub_.waitFresh());
  } else if (options.resourceVersion == "0") {
    limit = 0;
  } else {
    int64_t revision = CO_TRY(parseRevision(options.resourceVersion));
    CO_TRY(co_await hub_.waitFor(revision));
    bool legacyExact = options.resourceVersionMatch.empty() && limit > 0;
    if (options.resourceVersionMatch == "Exact" || legacyExact) exact = revision;
  }
  ListResult result;
  if (exact != 0 && exact != hub_.revision()) {
    result = CO_TRY(co_await listAtRevision(resource, selection, exact, start, limit));
  } else {
    result = pageFromCache(resource, selection, start, limit);
  }
  if (!result.continueToken.empty()) result.continueToken = encodeContinue({result.revision, result.continueToken});
  co_return result;
}

Task<Result<ListResult>> Registry::listAtRevision(const ServedResource& resource, Selection selection, int64_t revision,
                                                  std::string startKey, int64_t limit) {
  std::string prefix = resource.cache->prefix();
  if (!selection.nameSpace.empty() && resource.info->namespaced) prefix += selection.nameSpace + "/";
  store::RangeQuery query;
  query.range = store::prefixRange(prefix);
  query.range.begin = prefix + startKey;
  query.revision = revision;
  auto page = co_await store_.range(std::move(query));
  if (!page) {
    if (!store::isCompacted(page.error())) co_return Unexpected(std::move(page).error());
    if (startKey.empty()) co_return fail(Reason::Expired, "The resourceVersion for the provided list is too old.");
    co_return Unexpected(tooOldContinue(startKey));
  }
  ListResult result;
  result.revision = revision;
  for (size_t i = 0; i < page->kvs.size(); ++i) {
    const store::KeyValue& kv = page->kvs[i];
    if (limit > 0 && static_cast<int64_t>(result.items.size()) == limit) {
      result.continueToken = page->kvs[i - 1].key.substr(prefix.size()) + '\0';
      if (selection.selectsAll()) result.remainingItemCount = static_cast<int64_t>(page->kvs.size() - i);
      break;
    }
    // Most objects did not change since; their decoded form is in the cache.
    Ref<> object = resource.cache->get(std::string_view(kv.key).substr(resource.cache->prefix().size()));
    if (!object || revisionOf(object) != kv.modRevision) {
      Mut<> decoded = CO_TRY(codec::decodeProtobuf(resource.cache->type(), *kv.value));
      schema::metadataOf(decoded).resourceVersion = decoded.str(fmt::format("{}", kv.modRevision));
      object = std::move(decoded).publish();
    }
    if (selection.matches(object)) result.items.push_back(object);
  }
  co_return result;
}

namespace {

class CacheWatch : public RegistryWatch {
 public:
  CacheWatch(env::Env environment, const ServedResource& resource, Selection selection, int64_t after,
             std::vector<WatchEvent> initial, bool bookmarks, env::Instant deadline)
      : env_(environment),
        cursor_(*resource.cache, after),
        after_(after),
        selection_(std::move(selection)),
        initial_(std::move(initial)),
        bookmarks_(bookmarks),
        deadline_(deadline) {
    planBookmark();
  }

  Task<Result<std::vector<WatchEvent>>> next(async::StopToken stop) override {
    if (!initial_.empty()) co_return std::exchange(initial_, {});
    for (;;) {
      std::vector<CacheEvent> taken = CO_TRY(cursor_.take(kWatchBatch));
      std::vector<WatchEvent> events;
      for (const CacheEvent& event : taken) translate(event, events);
      if (!events.empty()) co_return events;
      if (taken.size() == kWatchBatch) continue;
      env::Instant now = env_.clock.now();
      if (now >= deadline_ || stop.stopRequested()) co_return std::vector<WatchEvent>();
      if (bookmarks_ && now >= nextBookmark_) {
        planBookmark();
        // Without progress there is nothing to tell.
        if (cursor_.revision() > after_) co_return std::vector<WatchEvent>{{WatchEvent::Bookmark, {}, cursor_.revision(), false}};
        continue;
      }
      co_await waitUntil(bookmarks_ ? std::min(deadline_, nextBookmark_) : deadline_, stop);
    }
  }

 private:
  // The next bookmark is due in a minute, or shortly before the end when that comes first.
  void planBookmark() {
    env::Instant now = env_.clock.now(), last = deadline_ - kBookmarkBeforeEnd;
    nextBookmark_ = now + kBookmarkPeriod;
    if (last > now && nextBookmark_ > last) nextBookmark_ = last;
  }

  // Resumes on a change, at `until` or on stop, whichever comes first.
  Task<void> waitUntil(env::Instant until, async::StopToken stop) {
    async::Promise<bool> woken(env_.executor);
    auto listener = cursor_.onChange([woken] { woken.set(true); });
    auto stopping = stop.onStop([woken] { woken.set(true); });
    async::ScopedTimer timer(env_.executor, until, [woken] { woken.set(true); });
    co_await woken.get();
  }

  // An object that starts to match is ADDED, one that stops matching is DELETED in its last matching state.
  void translate(const CacheEvent& event, std::vector<WatchEvent>& out) const {
    bool matchedBefore = event.previous && selection_.matches(event.previous);
    if (event.type == CacheEvent::Delete) {
      if (matchedBefore) out.push_back({WatchEvent::Deleted, event.object, event.revision, false});
      return;
    }
    bool matches = selection_.matches(event.object);
    if (matches) {
      out.push_back({matchedBefore ? WatchEvent::Modified : WatchEvent::Added, event.object, event.revision, false});
    } else if (matchedBefore) {
      Mut<> last = schema::edit(event.previous);
      schema::metadataOf(last).resourceVersion = last.str(fmt::format("{}", event.revision));
      out.push_back({WatchEvent::Deleted, std::move(last).publish(), event.revision, false});
    }
  }

  env::Env env_;
  CacheCursor cursor_;
  int64_t after_;  // where the watch began
  Selection selection_;
  std::vector<WatchEvent> initial_;
  bool bookmarks_;
  env::Instant deadline_;
  env::Instant nextBookmark_{};
};

// A watch that only says why it cannot be: the answer has begun with 200, so the error is an event.
class FailedWatch : public RegistryWatch {
 public:
  explicit FailedWatch(Error error) : error_(std::move(error)) {}
  Task<Result<std::vector<WatchEvent>>> next(async::StopToken) override { co_return Unexpected(error_); }

 private:
  Error error_;
};

}  // namespace

Task<Result<std::unique_ptr<RegistryWatch>>> Registry::watch(const ServedResource& resource, Selection selection,
                                                             client::ListOptions options) {
  bool fromNow = options.resourceVersion.empty() || options.resourceVersion == "0";
  bool initialEvents = options.sendInitialEvents.value_or(fromNow && options.resourceVersionMatch.empty());
  int64_t after = 0;
  if (options.resourceVersion.empty()) {
    CO_TRY(co_await hub_.waitFresh());
    after = hub_.revision();
  } else if (options.resourceVersion == "0") {
    after = hub_.revision();
  } else {
    after = CO_TRY(parseWatchRevision(options.resourceVersion));
    if (initialEvents) {
      auto there = co_await hub_.waitFor(after);
      if (!there) co_return std::make_unique<FailedWatch>(std::move(there).error());
      after = hub_.revision();
    }
  }
  std::vector<WatchEvent> initial;
  if (initialEvents) {
    for (Ref<>& object : pageFromCache(resource, selection, "", 0).items) {
      int64_t revision = revisionOf(object);
      initial.push_back({WatchEvent::Added, std::move(object), revision, false});
    }
    if (options.allowWatchBookmarks && options.sendInitialEvents.value_or(false))
      initial.push_back({WatchEvent::Bookmark, {}, after, true});
  }
  // Source: --min-request-timeout 1800 s: a watch lasts between one and two times that.
  int64_t seconds = options.timeoutSeconds > 0 ? options.timeoutSeconds : 1800 + static_cast<int64_t>(env_.random.below(1800));
  env::Instant deadline = env_.clock.now() + std::chrono::seconds(std::min<int64_t>(seconds, 86400 * 7));
  co_return std::make_unique<CacheWatch>(env_, resource, std::move(selection), after, std::move(initial),
                                         options.allowWatchBookmarks, deadline);
}

}  // namespace knarr::apiserver
