# shellcheck shell=bash disable=SC2034 # the scripts that read this file use what it sets
# What the steps of the build share that deploy a revision and switch traffic to it.

: "${PROJECT_ID:?cloudbuild.yaml sets it}" "${REGION:?}" "${SERVICE:?}" "${BUILD_ID:?}"
on=(--project="$PROJECT_ID" --region="$REGION")
suffix=b${BUILD_ID:0:8}
revision=$SERVICE-$suffix

# Reads the service into `now`, by the paths of its fields, such as status.traffic[0].tag, and counts its targets of traffic.
# A service that does not exist has none.
declare -A now=()
traffic=0
read_service() {
    local lines line
    lines=$(gcloud run services list "${on[@]}" --filter="metadata.name=$SERVICE" --format='flattened[no-pad](metadata.annotations,status,spec.template.spec)')
    now=() traffic=0
    while IFS= read -r line; do
        [[ $line == *': '* ]] || continue
        now[${line%%: *}]=${line#*: }
        [[ ! $line =~ ^status\.traffic\[([0-9]+)\] ]] || traffic=$((BASH_REMATCH[1] + 1))
    done <<<"$lines"
}

# Prints when a revision's build was asked for: digits that are greater for the newer of two. Nothing if nobody knows.
time_of() { gcloud run revisions describe "$1" "${on[@]}" --format='value(metadata.labels.build-time)' || true; } # revision

# Runs a command that changes the service, and again if another build changed it at the same moment: Cloud Run rejects a
# change that was based on an older state.
unless_changed_meanwhile() {
    local output status attempt
    for attempt in 1 2 3 4 5; do
        status=0
        { output=$("$@" 2>&1 >&3 3>&-) || status=$?; } 3>&1
        printf '%s\n' "$output" >&2
        if ((status == 0)) || ! [[ $output =~ Conflict|ABORTED ]]; then break; fi
        sleep "$attempt"
    done
    return "$status"
}

# Removes the address of a candidate; without it nobody can open the revision. A preview's leads to its former revision again.
remove_tag() { # tag
    local change=--remove-tags=$1
    [[ ! -s .candidate/former ]] || change=--update-tags=$1=$(<.candidate/former)
    unless_changed_meanwhile gcloud run services update-traffic "$SERVICE" "${on[@]}" --quiet "$change" || say "the tag $1 could not be removed; the next build does it."
}
