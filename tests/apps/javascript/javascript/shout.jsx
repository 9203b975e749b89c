import { useState } from "react";

export function Shout({ word, onShout }) {
  const [times, setTimes] = useState(0);
  const shout = () => {
    setTimes(times + 1);
    onShout(word.toUpperCase());
  };
  return <button id="shout" onClick={shout}>{word} {times}</button>;
}
